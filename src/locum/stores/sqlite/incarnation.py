"""The store's identity: the statements on the incarnation record (R24, R25)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from locum.errors import StoreUnavailableError
from locum.names import random_id
from locum.store import INCARNATION, Seen
from locum.stores.sight import RENEWED, difference, is_successor, revision_above
from locum.stores.sqlite import changes
from locum.stores.sqlite.schema import OPEN, QUARANTINE, SCHEMA, DamagedError
from locum.stores.sqlite.sessions import SessionTable

if TYPE_CHECKING:
    import sqlite3

    from locum.stores.sqlite.sessions import Instant

__all__ = ["Decide", "Incarnation", "adopt", "begin", "current", "lift"]


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The incarnation record.

    Attributes:
        id: The store's identity.
        revision: Its revision.
        quarantined: Whether nothing is to be granted yet.
    """

    id: str
    revision: int
    quarantined: bool

    @property
    def seen(self) -> Seen:
        """What a process has seen that has seen this."""
        return Seen(self.id, self.revision)


class Decide(Protocol):
    """What becomes of the store that is there; within a transaction."""

    def __call__(
        self, db: sqlite3.Connection, store: str, *, seen: Seen | None, max_ttl: int, now: Instant
    ) -> Incarnation:
        """The incarnation to go on with."""


def current(db: sqlite3.Connection, store: str) -> Incarnation:
    """The incarnation as it is now.

    Raises:
        StoreUnavailableError: A newer release has changed the schema while we worked: we wait, as for a fault.
        DamagedError: It is not readable.
    """
    row = db.execute("SELECT incarnation, revision, state, least_reader FROM locum_store").fetchone()
    match row:
        case (str(incarnation), int(revision), str(state), int(least_reader)):
            if least_reader > SCHEMA:
                raise StoreUnavailableError(
                    store,
                    f"a newer release has changed its schema to {least_reader}, this one reads up to {SCHEMA}: upgrade"
                    " locum here, and start this instance again",
                )
            return Incarnation(incarnation, revision, state != OPEN)
    raise DamagedError(f"the incarnation record is {row}")


def begin(db: sqlite3.Connection, store: str, *, seen: Seen | None, max_ttl: int, now: Instant) -> Incarnation:
    """Begin a new incarnation, in quarantine; all sessions of all namespaces are closed."""
    revision = revision_above(current(db, store).revision, seen.revision if seen else 0)
    db.execute(
        "UPDATE locum_store SET incarnation = ?, state = ?, revision = ?,"
        " max_ttl = max(max_ttl, ?, coalesce((SELECT max(max_ttl) FROM locum_namespaces), 0))",
        (random_id(), QUARANTINE, revision, max_ttl),
    )
    opened = db.execute("SELECT namespace, id FROM locum_sessions WHERE NOT closed").fetchall()
    for namespace, session_id in opened:
        SessionTable(namespace).close(db, session_id, None, RENEWED, now)
    changes.count(db, changes.EVERYWHERE, INCARNATION)
    return current(db, store)


def adopt(db: sqlite3.Connection, store: str, *, seen: Seen | None, max_ttl: int, now: Instant) -> Incarnation:
    """Take what is there, if it is as it was seen or succeeds that; begin a new incarnation otherwise."""
    found = current(db, store)
    if seen is None or difference(seen, found.seen) is None:
        return found
    if is_successor(found.seen, seen):
        db.execute("UPDATE locum_store SET max_ttl = max(max_ttl, ?)", (max_ttl,))
        return found
    return begin(db, store, seen=seen, max_ttl=max_ttl, now=now)


def lift(db: sqlite3.Connection, store: str, incarnation: str) -> bool:
    """Open this incarnation, if it is still there.

    Returns:
        Whether it is there, and open.
    """
    done = db.execute(
        "UPDATE locum_store SET state = ? WHERE incarnation = ? AND state = ?", (OPEN, incarnation, QUARANTINE)
    )
    if done.rowcount:
        changes.count(db, changes.EVERYWHERE, INCARNATION)
    found = current(db, store)
    return found.id == incarnation and not found.quarantined
