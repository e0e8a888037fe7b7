"""The statements on sessions and their tombstones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.clock import NANOSECONDS
from locum.errors import ConflictError, SessionClosedError
from locum.store import SessionState, SessionStatus
from locum.stores.sqlite import changes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["Instant", "SessionTable"]

_TOMBSTONE_AGE: Final = 24 * 3600 * NANOSECONDS
_SESSION: Final = "SELECT id, owner, ttl, beat, closed, reason FROM locum_sessions WHERE namespace = ?"


@dataclass(frozen=True, slots=True)
class Instant:
    """A reading of the boot clock (ns), and of which boot: it only tells the age of a tombstone."""

    boot: str
    at: int


@dataclass(frozen=True, slots=True)
class SessionTable:
    """The sessions of one namespace, within a transaction.

    Attributes:
        namespace: Whose they are.
    """

    namespace: str

    def open(self, db: sqlite3.Connection, session_id: str, owner: bytes, ttl: int, now: Instant) -> int:
        """Open a session, or find it open.

        Returns:
            The TTL that it was granted.
        """
        found = self.status(db, session_id)
        if found.is_closed:
            raise SessionClosedError(session_id, _text(found.reason))
        if found.is_open:
            return found.ttl
        db.execute(
            "INSERT INTO locum_namespaces VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET max_ttl = max(max_ttl, excluded.max_ttl)",
            (self.namespace, ttl),
        )
        db.execute(
            "INSERT INTO locum_sessions (namespace, id, owner, ttl, beat) VALUES (?, ?, ?, ?, 0)",
            (self.namespace, session_id, owner, ttl),
        )
        changes.count(db, self.namespace, f"session/{session_id}")
        self._forget_old_tombstones(db, now)
        return ttl

    def beat(self, db: sqlite3.Connection, session_id: str, number: int) -> None:
        """Write a beat, which must be newer than the last (R3)."""
        done = db.execute(
            "UPDATE locum_sessions SET beat = ? WHERE namespace = ? AND id = ? AND NOT closed AND beat < ?",
            (number, self.namespace, session_id, number),
        )
        if done.rowcount:
            return
        self.demand_open(db, session_id)
        raise ConflictError(
            f"session/{session_id}", None, f"its beat {number} is not newer than the last: a twin beats for it"
        )

    def close(self, db: sqlite3.Connection, session_id: str, beat: int | None, reason: bytes, now: Instant) -> None:
        """Close a session that is open, if its beat is this one or none is named; what is bound to it goes with it."""
        done = db.execute(
            "UPDATE locum_sessions SET closed = 1, reason = ?, closed_boot = ?, closed_at = ?"
            " WHERE namespace = ? AND id = ? AND NOT closed AND (? IS NULL OR beat = ?)",
            (reason, now.boot, now.at, self.namespace, session_id, beat, beat),
        )
        if not done.rowcount:
            return
        bound = db.execute(
            "DELETE FROM locum_records WHERE namespace = ? AND session = ? RETURNING key", (self.namespace, session_id)
        ).fetchall()
        for (key,) in [(f"session/{session_id}",), *bound]:
            changes.count(db, self.namespace, key)

    def status(self, db: sqlite3.Connection, session_id: str) -> SessionStatus:
        """One session, known or not."""
        row = db.execute(f"{_SESSION} AND id = ?", (self.namespace, session_id)).fetchone()
        return _status(row) if row else SessionStatus(session_id, SessionState.UNKNOWN)

    def statuses(self, db: sqlite3.Connection, ids: Iterable[str] | None) -> dict[str, SessionStatus]:
        """These sessions, known or not; all open ones if no ids are given."""
        if ids is None:
            rows = db.execute(f"{_SESSION} AND NOT closed", (self.namespace,)).fetchall()
            return {row[0]: _status(row) for row in rows}
        return {session_id: self.status(db, session_id) for session_id in ids}

    def demand_open(self, db: sqlite3.Connection, session_id: str) -> None:
        """Raise if a session is not open."""
        status = self.status(db, session_id)
        if not status.is_open:
            raise SessionClosedError(session_id, _text(status.reason))

    def max_ttl(self, db: sqlite3.Connection) -> int:
        """The longest TTL that was granted in this namespace, or before this incarnation."""
        (longest,) = db.execute(
            "SELECT max(max_ttl, coalesce((SELECT max_ttl FROM locum_namespaces WHERE namespace = ?), 0))"
            " FROM locum_store",
            (self.namespace,),
        ).fetchone()
        return int(longest)

    def _forget_old_tombstones(self, db: sqlite3.Connection, now: Instant) -> None:
        """Forget tombstones that are a day old for certain, and that no record names (R1).

        Of another boot than this one they are as old as this boot's clock says, at the least.
        """
        db.execute(
            "DELETE FROM locum_sessions AS s WHERE namespace = ? AND closed"
            " AND (CASE WHEN closed_boot = ? THEN ? - closed_at ELSE ? END) > ?"
            " AND NOT EXISTS"
            " (SELECT 1 FROM locum_records AS r WHERE r.namespace = s.namespace AND instr(r.value, s.id))",
            (self.namespace, now.boot, now.at, now.at, _TOMBSTONE_AGE),
        )


def _status(row: tuple[str, bytes, int, int, int, bytes]) -> SessionStatus:
    session_id, owner, ttl, beat, closed, reason = row
    return SessionStatus(session_id, SessionState.CLOSED if closed else SessionState.OPEN, owner, ttl, beat, reason)


def _text(reason: bytes) -> str:
    return reason.decode("utf-8", "replace")
