"""The store's identity: the statements on the incarnation record, and what this process has seen of it (R24, R25)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from locum.errors import StoreReplacedError, StoreUnavailableError
from locum.names import random_id
from locum.store import INCARNATION, Seen
from locum.stores.sqlite import changes
from locum.stores.sqlite.schema import LEAP, OPEN, QUARANTINE, SCHEMA, DamagedError, revision_above
from locum.stores.sqlite.sessions import SessionTable

if TYPE_CHECKING:
    import sqlite3

    from locum.stores.sqlite.sessions import Instant

__all__ = ["Decide", "Incarnation", "Sight", "adopt", "begin", "current", "lift"]

_CLOSED: Final = b"was closed: the store has begun a new incarnation"


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
        SessionTable(namespace).close(db, session_id, None, _CLOSED, now)
    changes.count(db, changes.EVERYWHERE, INCARNATION)
    return current(db, store)


def adopt(db: sqlite3.Connection, store: str, *, seen: Seen | None, max_ttl: int, now: Instant) -> Incarnation:
    """Take what is there, if it is as it was seen or succeeds that; begin a new incarnation otherwise."""
    found = current(db, store)
    if seen is None or (found.id == seen.incarnation and found.revision >= seen.revision):
        return found
    # what was begun after the seen one begins a leap above it; another store, or an earlier incarnation, does not
    if found.id != seen.incarnation and found.revision // LEAP > seen.revision // LEAP:
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


class Sight:
    """What this process has seen of a store, for all threads of one connection.

    Once something else was found, it is said again at every call, until that is adopted.

    Args:
        store: The store's URL, for messages.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._seen: Seen | None = None
        self._found: str | None = None

    @property
    def seen(self) -> Seen | None:
        """What was seen."""
        with self._guard:
            return self._seen

    def adopt(self, seen: Seen | None) -> None:
        """Go on from here."""
        with self._guard:
            self._seen, self._found = seen, None

    def demand(self) -> Seen | None:
        """What is to be compared with what is found; to be asked *before* a transaction takes its snapshot.

        Raises:
            StoreReplacedError: Something else was found already.
        """
        with self._guard:
            if self._found is not None:
                raise StoreReplacedError(self._store, self._found)
            return self._seen

    def compare(self, seen: Seen | None, found: Incarnation) -> None:
        """Compare what was seen before a transaction with what is found in it.

        Raises:
            StoreReplacedError: It is another incarnation, or a lower revision.
        """
        if seen is None:
            return
        if found.id != seen.incarnation:
            raise self.replaced("it has another identity, and was wiped or exchanged")
        if found.revision < seen.revision:
            raise self.replaced("it is older than what was seen of it, and was put back")

    def replaced(self, found: str) -> StoreReplacedError:
        """Remember, and say, that something else was found."""
        with self._guard:
            self._found = self._found or found
            return StoreReplacedError(self._store, self._found)

    def note(self, found: Seen) -> None:
        """Remember what an answer shows.

        Raises:
            StoreUnavailableError: It shows an incarnation that is no longer ours.
        """
        with self._guard:
            if self._seen is not None and self._seen.incarnation != found.incarnation:
                raise StoreUnavailableError(self._store, "it was taken up anew while the answer came; ask again")
            if self._seen is None or self._seen.revision < found.revision:
                self._seen = found
