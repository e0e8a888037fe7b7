"""What the scripts answer, read: records and sessions, and the errors that say no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from locum.errors import ConflictError, CorruptRecordError, SessionClosedError
from locum.store import Record, SessionState, SessionStatus, not_empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.errors import StoreError

__all__ = ["NO", "record", "records", "refused", "statuses"]

NO: Final = frozenset({b"exists", b"conflict", b"not gone", b"not empty", b"closed", b"twin"})
"""How an answer begins that says no."""


def record(key: str, packed: bytes | None) -> Record | None:
    """A record as a script keeps it: `REVISION CREATED SESSION VALUE`."""
    if packed is None:
        return None
    try:
        revision, created, session, value = packed.split(b" ", 3)
        return Record(key, value, int(revision), int(created), None if session == b"-" else session.decode())
    except ValueError:
        raise CorruptRecordError(key, "it was not written by this store's scripts") from None


def records(found: Sequence[bytes]) -> list[Record]:
    """Keys and records, in turn, in the order of their creation."""
    pairs = zip(found[::2], found[1::2], strict=True)
    made = (record(key.decode(), packed) for key, packed in pairs)
    return sorted((one for one in made if one is not None), key=lambda one: one.created)


def statuses(found: Sequence[Sequence[bytes]]) -> dict[str, SessionStatus]:
    """Sessions by id."""
    return {one[0].decode(): _status(*one) for one in found}


def refused(
    how: bytes, rest: Sequence[Any], *, key: str, number: int, gone: str | None, empty: str | None
) -> StoreError:
    """The error for an answer that says no.

    Args:
        how: How it begins.
        rest: What it says more.
        key: The key of the call.
        number: The number of the beat, if it was one.
        gone: The session that must be closed, if one must.
        empty: The prefix under which no record may stand, if there is one.
    """
    if how == b"closed":
        return SessionClosedError(rest[0].decode(), rest[1].decode("utf-8", "replace"))
    if how == b"twin":
        return ConflictError(key, None, f"its beat {number} is not newer than the last: a twin beats for it")
    current = record(key, rest[0])
    if how == b"exists":
        return ConflictError(key, current, "it exists already")
    if how == b"not gone":
        return ConflictError(key, current, f"the session {gone} is not closed")
    if how == b"not empty":
        return not_empty(key, current, empty or "")
    return ConflictError(key, current)


def _status(session_id: bytes, closed: bytes, owner: bytes, ttl: bytes, beat: bytes, reason: bytes) -> SessionStatus:
    if not closed:
        return SessionStatus(session_id.decode(), SessionState.UNKNOWN)
    state = SessionState.CLOSED if closed == b"1" else SessionState.OPEN
    return SessionStatus(session_id.decode(), state, owner, int(ttl), int(beat), reason)
