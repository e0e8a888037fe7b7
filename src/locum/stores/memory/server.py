"""The data of a memory store, and what may be done with it: a state machine whose every operation is one step."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from locum.clock import NANOSECONDS
from locum.errors import ConflictError, SessionClosedError, StoreReplacedError
from locum.names import random_id
from locum.store import (
    ABSENT,
    ANY,
    INCARNATION,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    SessionState,
    SessionStatus,
    not_empty,
)
from locum.stores.sight import RENEWED, difference, is_successor, missing, revision_above

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from locum.clock import Clock
    from locum.store import Expect

__all__ = ["MemoryServer", "Snapshot"]

T = TypeVar("T")

_TOMBSTONE_AGE: Final = 24 * 3600 * NANOSECONDS


@dataclass(slots=True)
class _Namespace:
    """What one namespace holds: sessions and tombstones, when they were closed (server's clock, ns), and records."""

    max_ttl: int = 0
    sessions: dict[str, SessionStatus] = field(default_factory=dict)
    closed_at: dict[str, int] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)

    def copy(self) -> _Namespace:
        return _Namespace(self.max_ttl, dict(self.sessions), dict(self.closed_at), dict(self.records))

    def status(self, session_id: str) -> SessionStatus:
        return self.sessions.get(session_id) or SessionStatus(session_id, SessionState.UNKNOWN)

    def demand_open(self, session_id: str) -> None:
        status = self.status(session_id)
        if not status.is_open:
            raise _closed(status)

    def demand(self, key: str, expect: Expect) -> Record | None:
        """The current record, which is as expected."""
        current = self.records.get(key)
        if expect is ANY:
            return current
        if expect is ABSENT:
            if current is not None:
                raise ConflictError(key, current, "it exists already")
        elif current is None or current.revision != expect:
            raise ConflictError(key, current)
        return current

    def forget_old_tombstones(self, now: int) -> None:
        """Forget those that are a day old, and that no record names (R1)."""
        for session_id, at in list(self.closed_at.items()):
            named = session_id.encode()
            if now - at > _TOMBSTONE_AGE and not any(named in record.value for record in self.records.values()):
                del self.closed_at[session_id], self.sessions[session_id]


@dataclass(slots=True)
class _Data:
    """All that is lost when the store is wiped."""

    incarnation: str
    revision: int
    quarantined: bool
    max_ttl: int = 0
    namespaces: dict[str, _Namespace] = field(default_factory=dict)

    def copy(self) -> _Data:
        return replace(self, namespaces={name: one.copy() for name, one in self.namespaces.items()})

    @property
    def seen(self) -> Seen:
        return Seen(self.incarnation, self.revision)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a server held at one moment; opaque."""

    _data: _Data | None


class MemoryServer:
    """The data, which every connection of this process shares.

    No operation waits, reads another clock than the one that is given, or is left half done: one that raises has
    changed nothing. What it answers follows from what was asked of it, and in which order.

    Args:
        name: What it is called, in URLs and messages.
        clock: Tells the age of tombstones.
        new_id: Makes the ids of incarnations.
    """

    def __init__(self, name: str, *, clock: Clock, new_id: Callable[[], str] = random_id) -> None:
        self.name = name
        self.url = f"memory://{name}"
        self._clock, self._new_id = clock, new_id
        self._step = threading.RLock()  # an embedded keeper is a thread, with a connection of its own
        self._data: _Data | None = None
        self._listeners: dict[object, tuple[str, Callable[[frozenset[str] | None], None]]] = {}
        self._changed: dict[str, set[str]] = {}
        self._everywhere = False

    # -- what may become of it

    def snapshot(self) -> Snapshot:
        """All that it holds now."""
        with self._step:
            return Snapshot(self._data.copy() if self._data is not None else None)

    def restore(self, snapshot: Snapshot) -> None:
        """Put back what it held then; whatever came after is forgotten, and nobody is told."""
        with self._step:
            self._data = snapshot._data.copy() if snapshot._data is not None else None

    def wipe(self) -> None:
        """Lose everything: there is no store here any more, until somebody opens or adopts it."""
        self._data = None

    # -- connections

    def listen(self, namespace: str, hear: Callable[[frozenset[str] | None], None]) -> Callable[[], None]:
        """Have a function called with the keys that have changed in a namespace; with `None`, anything may have.

        Returns:
            What ends it.
        """
        mark = object()
        self._listeners[mark] = (namespace, hear)

        def end() -> None:
            self._listeners.pop(mark, None)

        return end

    def open(self, seen: Seen | None, *, make: bool = True) -> Seen:
        """Make the store if there is none: in quarantine, if one was there before (R25).

        Returns:
            What is there.
        """
        with self._step:
            if self._data is None:
                if not make:
                    raise missing(self.url)
                quarantined, revision = (False, 0) if seen is None else (True, revision_above(seen.revision))
                self._data = _Data(self._new_id(), revision, quarantined)
            return self._data.seen

    def serve(self, seen: Seen | None, operation: Callable[[], T]) -> tuple[T, Seen]:
        """Do one operation for a connection that has seen this of the store (R24).

        Returns:
            What the operation returns, and what is to be seen of the store now.

        Raises:
            StoreReplacedError: The store is not the one that was seen; nothing was done.
        """
        with self._step:
            found = "it is gone" if self._data is None else difference(seen, self._data.seen)
            if found is not None:
                raise StoreReplacedError(self.url, found)
            result = operation()
            self._tell()
            return result, self._there.seen

    # -- the incarnation

    def adopt(self, seen: Seen | None, max_ttl: int) -> Seen:
        """Take what is there, if it is as it was seen or succeeds that; begin a new incarnation otherwise."""
        with self._step:
            found = self.open(seen)
            if difference(seen, found) is None:
                return found
            if seen is not None and is_successor(found, seen):
                self._there.max_ttl = max(self._there.max_ttl, max_ttl)
                self._tell_anything()
                return found
            return self.renew(seen, max_ttl)

    def renew(self, seen: Seen | None, max_ttl: int) -> Seen:
        """Begin a new incarnation, in quarantine; all sessions of all namespaces are closed."""
        with self._step:
            self.open(seen)
            data = self._there
            data.incarnation, data.quarantined = self._new_id(), True
            data.revision = revision_above(data.revision, seen.revision if seen else 0)
            data.max_ttl = max(data.max_ttl, max_ttl, *(one.max_ttl for one in data.namespaces.values()))
            for name, namespace in data.namespaces.items():
                for status in list(namespace.sessions.values()):
                    self.close(name, status.id, beat=None, reason=RENEWED)
            self._count_everywhere()
            self._tell_anything()
            return data.seen

    def lift_quarantine(self, incarnation: str) -> bool:
        """Open this incarnation, if it is still there.

        Returns:
            Whether it is there, and open.
        """
        data = self._there
        if data.incarnation != incarnation:
            return False
        if data.quarantined:
            data.quarantined = False
            self._count_everywhere()
        return True

    # -- sessions

    def open_session(self, namespace: str, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session, or find it open."""
        here = self._of(namespace)
        found = here.status(session_id)
        if found.is_closed:
            raise _closed(found)
        if not found.is_open:
            found = SessionStatus(session_id, SessionState.OPEN, owner, ttl, 0)
            here.sessions[session_id] = found
            here.max_ttl = max(here.max_ttl, ttl)
            self._count(namespace, _session_key(session_id))
            here.forget_old_tombstones(self._clock.now())
        return SessionInfo(session_id, found.ttl, self._there.incarnation)

    def beat(self, namespace: str, session_id: str, number: int) -> None:
        """Write a beat, which must be newer than the last (R3)."""
        here = self._of(namespace)
        here.demand_open(session_id)
        status = here.sessions[session_id]
        if status.beat is not None and status.beat >= number:
            raise ConflictError(
                _session_key(session_id), None, f"its beat {number} is not newer than the last: a twin beats for it"
            )
        here.sessions[session_id] = replace(status, beat=number)

    def close(self, namespace: str, session_id: str, *, beat: int | None, reason: bytes) -> bool:
        """Close a session that is open, if its beat is this one or none is named; what is bound to it goes with it.

        Returns:
            Whether it is closed now.
        """
        here = self._of(namespace)
        status = here.status(session_id)
        if not status.is_open or (beat is not None and status.beat != beat):
            return status.is_closed
        here.sessions[session_id] = replace(status, state=SessionState.CLOSED, reason=reason)
        here.closed_at[session_id] = self._clock.now()
        bound = [record.key for record in here.records.values() if record.session == session_id]
        for key in bound:
            del here.records[key]
        for key in (_session_key(session_id), *bound):
            self._count(namespace, key)
        return True

    def sessions(self, namespace: str, ids: Iterable[str] | None) -> Sessions:
        """These sessions, known or not; all open ones if no ids are given."""
        here, data = self._of(namespace), self._there
        if ids is None:
            by_id = {one.id: one for one in here.sessions.values() if one.is_open}
        else:
            by_id = {session_id: here.status(session_id) for session_id in ids}
        return Sessions(by_id, data.revision, data.incarnation, max(data.max_ttl, here.max_ttl), data.quarantined)

    # -- records

    def read(self, namespace: str, key: str) -> Record | None:
        """The record of a key."""
        return self._of(namespace).records.get(key)

    def list(self, namespace: str, prefix: str, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """Records under a prefix in order of creation."""
        there = [record for key, record in self._of(namespace).records.items() if key.startswith(prefix)]
        found = [one for one in there if after is None or one.revision > after or one.key in named]
        found.sort(key=lambda record: record.created)
        return Listing(found, self._there.revision, self._there.incarnation, len(there))

    def write(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None,
        if_open: str | None,
        if_gone: str | None,
        if_empty: str | None,
        drop: str | None,
    ) -> Record:
        """Compare and set."""
        here = self._of(namespace)
        current = here.demand(key, expect)
        for guard in (session, if_open):
            if guard is not None:
                here.demand_open(guard)
        if if_gone is not None and not here.status(if_gone).is_closed:
            raise ConflictError(key, current, f"the session {if_gone} is not closed")
        if if_empty is not None and any(other.startswith(if_empty) for other in here.records):
            raise not_empty(key, current, if_empty)
        if drop is not None:
            self.delete(namespace, drop, ANY)
        revision = self._count(namespace, key)
        record = Record(key, value, revision, current.created if current else revision, session)
        here.records[key] = record
        return record

    def delete(self, namespace: str, key: str, expect: Expect) -> None:
        """Compare and delete; what is not there is deleted already."""
        here = self._of(namespace)
        if key in here.records:
            here.demand(key, expect)
            del here.records[key]
            self._count(namespace, key)

    # -- inside

    @property
    def _there(self) -> _Data:
        assert self._data is not None  # noqa: S101 - `serve` and `open` see to that
        return self._data

    def _of(self, namespace: str) -> _Namespace:
        namespaces = self._there.namespaces
        if namespace not in namespaces:
            namespaces[namespace] = _Namespace()
        return namespaces[namespace]

    def _count(self, namespace: str, key: str) -> int:
        self._there.revision += 1
        self._changed.setdefault(namespace, set()).add(key)
        return self._there.revision

    def _count_everywhere(self) -> None:
        self._there.revision += 1
        self._everywhere = True

    def _tell(self) -> None:
        """Wake the listeners of what has changed since."""
        changed, everywhere = self._changed, self._everywhere
        if not changed and not everywhere:
            return
        self._changed, self._everywhere = {}, False
        for namespace, hear in list(self._listeners.values()):
            keys = changed.get(namespace, set()) | ({INCARNATION} if everywhere else set())
            if keys:
                hear(frozenset(keys))

    def _tell_anything(self) -> None:
        """Wake all listeners: whatever they know may be wrong."""
        self._changed, self._everywhere = {}, False
        for _, hear in list(self._listeners.values()):
            hear(None)


def _session_key(session_id: str) -> str:
    return f"session/{session_id}"


def _closed(status: SessionStatus) -> SessionClosedError:
    return SessionClosedError(status.id, status.reason.decode("utf-8", "replace"))
