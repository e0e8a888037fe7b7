"""A connection to the database's files, which knows whether they are still the ones that their names stand for.

A deleted or exchanged file goes on working for those who have it open: what is written into it is lost. So each
transaction asks whether the names still lead to what is open: the database, its `-wal` and its `-shm`.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Connection", "GoneError", "connect"]

_BESIDE: Final = ("-wal", "-shm")
_SHARE: Final = 0.8  # of a call's deadline: SQLite gives up first, and says why

Identity = tuple[int, int]
"""A file: its device and its inode."""


class GoneError(OSError):
    """A file that was there is there no more."""


class _File:
    """One file, by the name under which it was opened."""

    __slots__ = ("known", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.known: Identity | None = None

    def now(self) -> Identity | None:
        """What the name stands for now."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on the road of every call; Path costs as much again
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


class Connection(sqlite3.Connection):
    """A connection that knows its files."""

    _main: _File
    _beside: tuple[_File, ...] = ()

    def know(self, main: _File) -> None:
        """Take what the name of the database stands for, as that which was opened."""
        main.known = main.now()
        self._main = main
        real = os.path.realpath(main.path)  # SQLite follows links, and has the other files beside their end
        self._beside = tuple(_File(real + suffix) for suffix in _BESIDE)

    def missing(self) -> str | None:
        """What of its files is no longer in its place, in words; to be asked within a transaction."""
        main = self._main.now()
        if main != self._main.known:
            return f"the file {self._main.path} {'is gone' if main is None else 'was exchanged for another one'}"
        for file in self._beside:
            found = file.now()
            if file.known is None:
                file.known = found  # made by the first transaction
            elif found != file.known:
                return f"the file {file.path}, a part of it, {'is gone' if found is None else 'was exchanged'}"
        return None

    def clear_away(self) -> None:
        """Delete what lies beside another database's place and was ours: SQLite would lay it over the other one.

        To be called under the writers' lock, before this connection is closed: only then are its inodes surely its own.
        """
        is_ours = self._main.now() == self._main.known
        if is_ours and not self.missing():
            return
        if not is_ours:
            self._save()
        for file in self._beside:
            # the -wal of a database that is there still holds its last changes; the -shm is made anew from it
            if file.known is not None and file.now() == file.known and not (is_ours and file.path.endswith("-wal")):
                os.unlink(file.path)  # noqa: PTH108 - as above

    def _save(self) -> None:
        """Bring the last changes into the database that has lost its name: it may only have been moved away."""
        try:
            self.execute("PRAGMA wal_checkpoint").fetchall()
        except sqlite3.Error:
            pass  # then its -wal is of no use to anyone else either


def connect(path: Path, *, timeout: float, make: bool) -> Connection:
    """Connect to a file.

    Args:
        path: The file.
        timeout: Seconds after which a call ends; SQLite waits somewhat less for the locks of others.
        make: Whether to make the file if there is none.

    Raises:
        GoneError: There is none.
        sqlite3.Error: It cannot be opened.
    """
    file = _File(str(path))
    before = file.now()
    if before is None and not make:
        raise GoneError(f"the file {path} is gone")
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={'rwc' if make else 'rw'}",
        uri=True,
        isolation_level=None,
        timeout=timeout * _SHARE,
        factory=Connection,
    )
    connection.know(file)
    if before is not None and file.known != before:
        connection.close()  # which of the two was opened is not known
        raise sqlite3.OperationalError(f"the file {path} was exchanged while it was opened")
    return connection
