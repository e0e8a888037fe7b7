"""What a server's errors and the library's mean: one sentence each, which says what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from locum.errors import StoreUnavailableError
from locum.stores.link import unusable
from locum.stores.network import in_words as network_in_words

if TYPE_CHECKING:
    from locum.errors import LocumError

__all__ = ["in_words", "is_about_rights", "lacking", "refusal"]

_CUT_OFF: Final = {NoPermissionError: "NOPERM", OutOfMemoryError: "OOM", ReadOnlyError: "READONLY"}
"""What the library cuts off the server's words, and makes a class of."""

_SENTENCES: Final = {
    "OOM": "its memory is full: free some, or raise maxmemory; it goes on by itself",
    "READONLY": "it is a read-only replica now: name its primary, or promote it",
    "MISCONF": "it cannot write its files, as when the disk is full: see its log; it goes on by itself",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write demands: see what became of them",
    "LOADING": "it still reads its files: it answers when it has",
    "BUSY": "somebody's script holds it up: 'redis-cli script kill' ends that",
    "MASTERDOWN": "it is a replica without its primary: name the primary",
    "CLUSTERDOWN": "it is part of a cluster: name a server that runs alone",
    "MOVED": "it is part of a cluster: name a server that runs alone",
    "NOAUTH": "it asks for a password: name one in the URL, a password_file, or LOCUM_STORE_PASSWORD",
    "NOPERM": "its user may not do that: see the rights in the documentation of this store",
    "WRONGTYPE": "something else has keys under our prefix: choose another one (?prefix=...)",
}
_CODE: Final = re.compile(rf"\b({'|'.join(_SENTENCES)})\b")
_RIGHTS: Final = re.compile("NOPERM|no permission|doesn't have permission|user executing the script", re.IGNORECASE)


def refusal(said: str, url: str) -> StoreUnavailableError:
    """The error for what a server said when it refused the first write of a script: nothing was changed."""
    return StoreUnavailableError(url, _sentence(said))


def is_about_rights(said: str) -> bool:
    """Whether what a server said is that its user lacks a right."""
    return _RIGHTS.search(said) is not None or _SENTENCES["NOPERM"] in said


def lacking(error: Exception) -> str:
    """What to say of a right that lacks."""
    return _sentence(f"NOPERM {error}")


def in_words(error: Exception, url: str) -> str | LocumError:
    """What a failure of the library's means: a sentence if the call is in doubt, an error if it was refused."""
    if isinstance(error, BusyLoadingError):
        return StoreUnavailableError(url, _SENTENCES["LOADING"])
    if isinstance(error, MaxConnectionsError) or "max number of clients" in str(error):
        return "it has no room for another connection: raise maxclients, or see who holds so many"
    if isinstance(error, AuthenticationError):
        return unusable(url, f"it refuses this user or password ({_plain(error)}): see the URL, or the password's file")
    if isinstance(error, NoPermissionError | ResponseError):
        said = f"{_CUT_OFF.get(type(error), '')} {error}".strip()
        return StoreUnavailableError(url, _sentence(said)) if _was_refused(said) else _sentence(said)
    if isinstance(error, OSError | RedisError | EOFError):
        return network_in_words(error, url)
    return f"{type(error).__name__}: {error}"


def _was_refused(said: str) -> bool:
    """Whether a script did not begin; a right that lacks, or a key of somebody else, may be met in its middle."""
    found = _CODE.search(said)
    return found is not None and (found[0] not in ("NOPERM", "WRONGTYPE") or "'eval" in said)


def _sentence(said: str) -> str:
    found = _CODE.search(said)
    code = found[0] if found else "NOPERM" if _RIGHTS.search(said) else None
    return f"{_SENTENCES[code]} (it says: {said})" if code else f"it says: {said}"


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__
