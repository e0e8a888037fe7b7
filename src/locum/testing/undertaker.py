"""A process beside a test's instances, which ends them where the test could not: it may itself be killed.

`python -m locum.testing.undertaker MARK`: waits until the other end of its stdin is closed, as the kernel does when
the test's process ends, and then ends whatever carries the mark.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from locum.testing.processes import kill_marked

__all__ = ["main"]

_TRIES: Final = 2000
_PAUSE: Final = 0.01  # s


def main() -> None:
    """Wait for the end, and clear away what is left."""
    sys.stdin.buffer.read()
    for _ in range(_TRIES):  # it does not stay for ever, even if there is something that it cannot end
        if not kill_marked(sys.argv[1]):
            return
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
