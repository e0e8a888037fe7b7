"""A connection to the database's files, which knows whether they are still the ones that their names stand for.

A deleted or exchanged file goes on working for those who have it open: what is written into it is lost. So each
transaction asks whether the names still lead to what is open: the database, its `-wal` and its `-shm`.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

__all__ = ["Connection", "GoneError", "connect"]

_BESIDE: Final = ("-wal", "-shm")
_SHARE: Final = 0.8  # of a call's deadline: SQLite gives up first, and says why

Identity = tuple[int, int]
"""A file: its device and its inode."""


class GoneError(OSError):
    """A file that was there is there no more."""


class Connection(sqlite3.Connection):
    """A connection that knows its files."""

    path: Path
    _main: Identity | None = None
    _beside: dict[str, Identity]

    def missing(self) -> str | None:
        """What of its files is no longer in its place, in words; to be asked within a transaction."""
        main = _identity(self.path)
        if main != self._main:
            return f"the file {self.path} {'is gone' if main is None else 'was exchanged for another one'}"
        for suffix in _BESIDE:
            path = _beside(self.path, suffix)
            found, known = _identity(path), self._beside.get(suffix)
            if known is None:
                if found is not None:  # made by the first transaction
                    self._beside[suffix] = found
            elif found != known:
                return f"the file {path}, a part of it, {'is gone' if found is None else 'was exchanged'}"
        return None

    def clear_away(self) -> None:
        """Delete what lies beside another database's place and was ours: SQLite would lay it over the other one.

        To be called under the writers' lock, before this connection is closed: only then are its inodes surely its own.
        """
        is_ours = _identity(self.path) == self._main
        if not is_ours:
            self._save()
        for suffix in _BESIDE:
            path = _beside(self.path, suffix)
            known = self._beside.get(suffix)
            if known is None or _identity(path) != known:
                continue
            # the -wal of a database that is there still holds its last changes; the -shm is made anew from it
            if not is_ours or (suffix == "-shm" and self.missing()):
                path.unlink(missing_ok=True)

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
    before = _identity(path)
    if before is None and not make:
        raise GoneError(f"the file {path} is gone")
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={'rwc' if make else 'rw'}",
        uri=True,
        isolation_level=None,
        timeout=timeout * _SHARE,
        factory=Connection,
    )
    connection.path, connection._main, connection._beside = path, _identity(path), {}
    if before is not None and connection._main != before:
        connection.close()  # which of the two was opened is not known
        raise sqlite3.OperationalError(f"the file {path} was exchanged while it was opened")
    return connection


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the road of every call; Path costs as much again
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
