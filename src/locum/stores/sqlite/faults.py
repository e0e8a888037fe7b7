"""What can be wrong with the file, its folder and its disk: one sentence each, which says what to do next.

What can be mended while instances wait for it is `StoreUnavailableError`. What was never right is
`ConfigurationError`; but a store that this instance has worked with before is never called that, since it was right.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from locum.errors import ConfigurationError, NoStoreError, StoreUnavailableError
from locum.stores.sight import missing
from locum.stores.sqlite.mounts import NETWORK, file_system

if TYPE_CHECKING:
    from pathlib import Path

    from locum.errors import LocumError

__all__ = ["behind_a_lock", "demand_place", "demand_store", "in_words", "sentence", "spoils"]

_UNSPOILT: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
_DISK: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def demand_store(path: Path, url: str) -> None:
    """Raise if no store is there: a file is made when it is opened, and tables are made in any.

    Raises:
        StoreUnavailableError: There is none, or it cannot be seen.
    """
    if not path.is_file():
        raise missing(url)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
            found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'locum_store'").fetchone()
    except sqlite3.Error as error:
        raise StoreUnavailableError(url, f"SQLite says {error}") from error
    if not found:
        raise NoStoreError(url, f"the file exists, but {missing(url).why}")


def demand_place(path: Path, url: str, *, was_there: bool) -> None:
    """Raise if a store cannot be at this place.

    Raises:
        ConfigurationError: The folder does not exist, or is on a network file system.
        StoreUnavailableError: The folder was there, and is gone.
    """
    if not path.parent.is_dir():
        if was_there:
            raise StoreUnavailableError(url, f"the folder {path.parent} is gone: mount it or make it again")
        raise ConfigurationError(f"the folder {path.parent} of the store does not exist: make it first")
    kind = file_system(path.parent)
    if kind in NETWORK:
        raise ConfigurationError(
            f"the store {path} is on a network file system ({kind}), where SQLite's locks do not hold: put it on a disk"
            " of this machine, or use a database server"
        )


def spoils(error: sqlite3.Error) -> bool:
    """Whether a connection that has said this is better thrown away."""
    return _code(error) not in _UNSPOILT


def behind_a_lock(path: Path) -> str:
    """What to say of a call that did not come through."""
    return f"another process keeps the file locked; 'fuser -v {path}' shows who has it open, end what holds on to it"


def in_words(error: sqlite3.Error | OSError, path: Path, url: str, *, was_there: bool) -> LocumError:
    """The error to raise for one of SQLite's or of the kernel's.

    Args:
        error: What was said.
        path: The file.
        url: The store's URL, for messages.
        was_there: Whether this instance has worked with the store before.
    """
    if not was_there and (_is_no_database(error) or _is_forbidden(error, path)):
        return ConfigurationError(f"the store {path} cannot be used: {sentence(error, path)}")
    return StoreUnavailableError(url, sentence(error, path))


def sentence(error: sqlite3.Error | OSError, path: Path) -> str:
    """What is wrong, with what, and what to do about it."""
    said = f"SQLite says {str(error)!r}" if isinstance(error, sqlite3.Error) else str(error)
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return behind_a_lock(path)
    if _is_about_room(error, path):
        return f"the disk of {path} is full ({said}): free some space there, and it goes on by itself"
    if _is_forbidden(error, path):
        return f"{path} or its folder is read-only ({said}): mount it writable, or give this user the right to write"
    if _is_no_database(error):
        return f"{path} is no SQLite database ({said}): name another file, or put a good copy in its place"
    if code == sqlite3.SQLITE_CORRUPT:
        return (
            f"{path} is damaged ({said}): put a good copy in its place; instances that run begin anew with it by"
            " themselves, and where none does run 'locum store reset' first"
        )
    if code in _DISK or isinstance(error, OSError):
        return f"the disk of {path} fails ({said}): see what the kernel's log says of it"
    return said


def _is_about_room(error: sqlite3.Error | OSError, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _code(error) == sqlite3.SQLITE_FULL or (_code(error) in _DISK and _is_full(path))


def _is_forbidden(error: sqlite3.Error | OSError, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return _code(error) == sqlite3.SQLITE_READONLY or (_code(error) in _DISK and _is_read_only(path))


def _is_no_database(error: sqlite3.Error | OSError) -> bool:
    return _code(error) == sqlite3.SQLITE_NOTADB


def _code(error: sqlite3.Error | OSError) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)  # Python's own refusals have none, nor has the kernel
    return None if code is None else code & 0xFF


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)


def _is_read_only(path: Path) -> bool:
    parts = (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))
    return not os.access(path.parent, os.W_OK) or any(part.exists() and not os.access(part, os.W_OK) for part in parts)
