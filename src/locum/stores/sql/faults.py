"""What a server's errors and the library's mean: one sentence each, which says what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from locum.errors import StoreUnavailableError
from locum.stores.link import unusable
from locum.stores.network import in_words as network_in_words

if TYPE_CHECKING:
    from locum.errors import LocumError

__all__ = ["in_words", "is_gone"]

_WRONG: Final = {
    "28P01": "it refuses this user or password",
    "28000": "it does not let this user in: see its pg_hba.conf",
    "3D000": "it has no such database: create it, or name another one after the URL's last slash",
    "42501": "it gives this user too few rights: see the rights in the documentation of this store",
}
"""What was never right."""

_REFUSED: Final = {
    "25006": "it cannot be written to: it is a standby, or was set to read only; name its primary, or see"
    " default_transaction_read_only",
    "40001": "others changed the same at the same time, too often",
    "40P01": "it has ended a deadlock: see its log for who else writes to our tables",
    "53100": "its disk is full: free some space there, and it goes on by itself",
    "53200": "it has no memory left: see its log",
    "53300": "it has no room for another connection: raise max_connections, or see who holds so many",
    "53400": "a limit of its configuration is reached: see its log",
    "55P03": "somebody holds a lock on our tables: see pg_locks for who that is",
    "57014": "it did not answer in time, perhaps since somebody holds a lock on our tables: see pg_locks",
    "57P03": "it is starting up or shutting down: it answers when it has",
}
"""What did not happen, and may be tried again."""

_GONE: Final = {"42P01", "3F000"}


def is_gone(error: Exception) -> bool:
    """Whether our tables are not there."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _GONE


def in_words(error: Exception, url: str) -> str | LocumError:
    """What a failure of the library's means: a sentence if the call is in doubt, an error if it was refused."""
    if isinstance(error, asyncpg.InternalClientError):  # a message of its end has come, which is not read whole yet
        return f"it ended the connection ({error})"
    if not isinstance(error, asyncpg.PostgresError):
        return network_in_words(error, url)
    said, code = str(error), error.sqlstate or ""
    if code in _WRONG:
        return unusable(url, f"{_WRONG[code]} (it says: {said})")
    if code in _REFUSED:
        return StoreUnavailableError(url, f"{_REFUSED[code]} (it says: {said})")
    if code.startswith("08"):  # the library's own, for a connection that is gone
        return f"it ended the connection ({said})"
    if code.startswith("57P"):
        return f"it ended the connection (it says: {said})"
    return f"it says: {said}"
