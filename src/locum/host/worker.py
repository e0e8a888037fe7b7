"""The worker's beginning: `python -m locum.host.worker MODULE:HOST` imports the user's module and runs its host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from locum import exit_codes
from locum.errors import ConfigurationError
from locum.host.finding import find_host
from locum.host.kept import work
from locum.keeper.control import WORKER_VARIABLE, WorkerEnd

__all__ = ["main"]


def main() -> None:
    """Import the user's module, and run its host."""
    if WORKER_VARIABLE not in os.environ:
        sys.stderr.write("this is the worker's half: use `locum run MODULE:HOST`\n")
        raise SystemExit(exit_codes.USAGE)
    sys.path.insert(0, str(Path.cwd()))
    try:
        host = find_host(sys.argv[1])
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(exit_codes.BAD_CONFIGURATION) from error
    # taken only now: a module that calls host.run() while it is imported has become the worker by itself
    end = WorkerEnd.take()
    if end is None:
        raise SystemExit(exit_codes.BAD_CONFIGURATION)
    work(host.plan, end)


if __name__ == "__main__":
    main()
