"""The trace: by one row every millisecond a body shows that it runs, and under which token.

It is not fenced: a body that runs when it must not leaves its rows here whatever the databases refuse.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Row", "Trace", "TraceReader"]


@dataclass(frozen=True, slots=True)
class Row:
    """One sign of life of a body.

    Attributes:
        at: When it was about to be written (boot clock, ns).
        pid: By which process.
        token: Under which token.
    """

    at: int
    pid: int
    token: int


class Trace:
    """Appends rows, each by one write, so that those of several processes never mix.

    Args:
        path: The file; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pid = os.getpid()
        self._clock = Clock()

    def append(self, token: int) -> None:
        """Show that the body with this token runs now."""
        os.write(self._fd, b"%d %d %d\n" % (self._clock.now(), self._pid, token))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class TraceReader:
    """Reads the rows in the order of writing, and goes on where it was when more have come.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> Iterator[Row]:
        """The rows that came since the last time."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # half a row: its writer is not done
                self._offset += len(line)
                yield Row(*map(int, line.split()))
