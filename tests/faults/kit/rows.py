"""The rows that bodies write, as a test reads them: the only witness of who worked when."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from locum.testing.ledger import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Row", "RowFile", "now"]


def now() -> int:
    """This instant on the clock that the rows carry (boot clock, ns)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class RowFile:
    """The file of rows, read on from where it was left.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        """All that was read so far, in the order of writing."""
        self._offset = 0

    def read(self) -> list[Row]:
        """Read on.

        Returns:
            The rows that are new.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return []
        try:
            size = os.fstat(fd).st_size
            data = os.pread(fd, size - self._offset, self._offset)
        finally:
            os.close(fd)
        data = data[: data.rfind(b"\n") + 1]  # a row that is being written is read the next time
        self._offset += len(data)
        new = [Row.of_line(line) for line in data.splitlines()]
        self.rows += new
        return new

    def last(self) -> Row | None:
        """The newest row of a body, if there is any."""
        self.read()
        return next((row for row in reversed(self.rows) if row.is_of_body), None)

    def last_after(self, instant: int) -> Row | None:
        """The newest row of a body, if it is later than that."""
        row = self.last()
        return row if row is not None and row.at > instant else None

    def first_of_newer(self, token: int) -> Row | None:
        """The first row under a newer token than this, if there is any."""
        return self._from_end(lambda row: row.token > token)

    def last_of(self, token: int) -> Row | None:
        """The last row under this token that was read so far."""
        return next((row for row in reversed(self.rows) if row.token == token), None)

    def _from_end(self, wanted: Callable[[Row], bool]) -> Row | None:
        self.read()
        found = None
        for row in reversed(self.rows):
            if not wanted(row):
                break
            found = row
        return found
