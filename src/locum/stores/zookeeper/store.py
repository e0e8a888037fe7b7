"""The store contract on a ZooKeeper ensemble."""

from __future__ import annotations

import importlib.util
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from locum.clock import NANOSECONDS, seconds
from locum.errors import ConfigurationError, ConflictError, MissingDriverError, StoreUnavailableError
from locum.names import check_key
from locum.store import (
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    check_session,
    check_value,
)
from locum.stores.address import Address
from locum.stores.flaws import flaws_of
from locum.stores.lines import Lines
from locum.stores.link import unusable
from locum.stores.sight import Sight
from locum.stores.zookeeper.lease import Lease
from locum.stores.zookeeper.options import OPTIONS, told_reader, told_tick

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from locum.clock import Clock
    from locum.errors import LocumError
    from locum.stores.link import Link
    from locum.stores.zookeeper.connection import ZooKeeperConnection
    from locum.stores.zookeeper.transactions import Turn

__all__ = ["ZooKeeperStore", "make_store"]

T = TypeVar("T")

_SCHEMA: Final = 1
_MILLISECOND: Final = 1_000_000
_LEAST_TTL: Final = NANOSECONDS // 2
_IDLE: Final = 30_000  # ms until a server forgets a connection that holds nothing
_ASIDE: Final = 0.25  # of the time of a call: for what can also do without an answer


def make_store(url: str, *, namespace: str, clock: Clock) -> ZooKeeperStore:
    """The store of a `zookeeper://` URL: any number of servers, and after the slash the node that it lives under."""
    address = Address.parse(url, default_port=2181, options=OPTIONS)
    if importlib.util.find_spec("kazoo") is None:
        raise MissingDriverError(address.scheme, "zookeeper", "kazoo")
    root = address.path.rstrip("/")
    if root:
        for part in root[1:].split("/"):
            if not part or part in (".", "..") or not part.isprintable():
                raise ConfigurationError(f"{address.url} names no node: write it like {address.scheme}://host/locum")
    told_reader(address)  # refused now, and not with the first connection
    return ZooKeeperStore(address, root or "/locum", namespace=namespace, clock=clock)


class ZooKeeperStore:
    """The connections of one process to an ensemble.

    Args:
        address: Where its servers are, and as whom one connects.
        root: The node below which everything stands.
        namespace: Whose sessions and records these are.
        clock: Measures round trips.
    """

    def __init__(self, address: Address, root: str, *, namespace: str, clock: Clock) -> None:
        from locum.stores.zookeeper.layout import Layout
        from locum.stores.zookeeper.records import RecordTable
        from locum.stores.zookeeper.sessions import SessionTable
        from locum.stores.zookeeper.transactions import Transactions

        self.url = address.url
        self.namespace = namespace
        self.call_timeout = 1.0
        self._address, self._clock = address, clock
        self._sight = Sight(self.url)
        self._layout = Layout(root, namespace)
        self._transactions = Transactions(self._layout, self._sight, self.url, lambda: self.call_timeout, clock)
        self._sessions = SessionTable(self._layout)
        self._records = RecordTable(self._layout, self._sessions)
        self._leases: dict[str, tuple[Lease, Link[ZooKeeperConnection]]] = {}
        self._least = 0  # the shortest timeout that the servers grant, in ms
        self._tick = told_tick(address) or 0  # ms; 0 as long as it is not known
        self._version: str | None = None
        self._lines: Lines[ZooKeeperConnection] = Lines(
            self.url, connect=self._connect, in_words=self._in_words, clock=clock
        )

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the store if there is none."""
        from locum.stores.zookeeper import incarnations, words
        from locum.stores.zookeeper.wakeups import Wakeups

        self._lines.was_there = self._lines.was_there or self.seen is not None
        self._lines.open()
        self._wakeups = Wakeups(self._lines.listening, self._layout, lambda: self.call_timeout)
        try:
            await self._learn_least()
            if not self._tick:
                self._tick = await words.tick(self._address, within=_ASIDE * self.call_timeout) or 0
            if make:
                found = await self._as_it_is("open", lambda turn: incarnations.make(turn, self._layout, self.seen))
            else:
                found = await self._as_it_is("open", lambda turn: incarnations.find(turn, self.url))
        except BaseException:
            await self.close()
            raise
        self._lines.was_there = True
        if self.seen is None:
            self.seen = found

    async def close(self) -> None:
        """Leave; calls that still run end at once."""
        for session_id in list(self._leases):
            await self._forget(session_id)
        await self._lines.close()

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        from locum.stores.zookeeper import incarnations

        before = self.seen
        return await self._take_up("adopt", lambda turn: incarnations.adopt(turn, self._layout, before, max_ttl))

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        from locum.stores.zookeeper import incarnations

        before = self.seen
        return await self._take_up("renew", lambda turn: incarnations.begin(turn, self._layout, before, max_ttl))

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        from locum.stores.zookeeper import incarnations

        return await self._change("lift_quarantine", lambda turn: incarnations.lift(turn, self._layout, incarnation))

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id, as a ZooKeeper session of its own."""
        check_session(session_id, owner)
        self._lines.demand_open()
        if session_id in self._leases and self._leases[session_id][0].expired:
            await self._forget(session_id)
        if session_id not in self._leases:
            wanted = -(-max(ttl, self._least_ttl) // _MILLISECOND) + self._lag
            lease = Lease(self._address, wanted, lambda: self.call_timeout)
            self._leases[session_id] = lease, self._lines.another(lease.connect)
        lease, link = self._leases[session_id]

        async def work(turn: Turn) -> SessionInfo:
            granted = (lease.granted - self._lag) * _MILLISECOND
            if granted < _LEAST_TTL:
                why = f"it grants {lease.granted} ms at the most, and a tick of {self._lag} ms is taken off"
                raise unusable(self.url, f"{why}: raise its maxSessionTimeout")
            return await self._sessions.open(turn, session_id, owner, granted)

        try:
            return await self._transactions.call(link, "open_session", work, changes=True)
        except BaseException:
            if not await self._may_live(session_id):
                await self._forget(session_id)
            raise

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive: a write of that very ZooKeeper session (R27)."""
        self._lines.demand_open()
        if session_id not in self._leases:
            await self._change("beat", lambda turn: self._beat_elsewhere(turn, session_id))
        lease, link = self._leases[session_id]
        try:
            await self._transactions.call(
                link, "beat", lambda turn: self._sessions.beat(turn, session_id, number), changes=True
            )
        except StoreUnavailableError:
            if not lease.expired:
                raise
            await self._change("beat", lambda turn: self._beat_elsewhere(turn, session_id))

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._change("close_session", lambda turn: self._sessions.close(turn, session_id, reason))
        await self._forget(session_id)

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Never closes a session that lives: the ensemble times it itself (R7)."""
        del beat, reason

        async def work(turn: Turn) -> bool:
            look, status = await self._sessions.status(turn, session_id)
            turn.note(look)
            return status.is_closed

        return await self._change("close_if_silent", work)

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(ids)

        async def work(turn: Turn) -> Sessions:
            look, by_id, longest = await self._sessions.statuses(turn, wanted)
            turn.note(look)
            if wanted is None:
                by_id = {one.id: one for one in by_id.values() if one.is_open}
            now = look.incarnation
            return Sessions(by_id, look.seen.revision, now.id, longest, now.quarantined)

        return await self._ask("sessions", work)

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._ask("read", lambda turn: self._records.read(turn, key))

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
        if_empty: str | None = None,
        drop: str | None = None,
    ) -> Record:
        """Compare and set, as one change."""
        check_key(key)
        check_value(key, value)
        return await self._change(
            "write",
            lambda turn: self._records.write(
                turn,
                key,
                value,
                expect=expect,
                session=session,
                if_open=if_open,
                if_gone=if_gone,
                if_empty=if_empty,
                drop=drop,
            ),
        )

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._change("delete", lambda turn: self._records.delete(turn, key, expect))

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation."""
        return await self._ask("list", lambda turn: self._records.under(turn, prefix, after, named))

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        async with self._wakeups.subscribe(prefixes, self._lines.demand_open()) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What an ensemble promises; the least TTL is what its servers granted."""
        return Guarantees(
            one_machine=False,
            guarded_writes=True,
            native_sessions=True,
            pushed_changes=True,
            durable=True,
            least_ttl=seconds(self._least_ttl),
            poll_interval=5.0,
        )

    async def health(self) -> Health:
        """Reach it once."""
        from locum.stores.zookeeper import words

        if self._version is None:
            self._version = await words.version(self._address, within=_ASIDE * self.call_timeout) or ""
        called = f"ZooKeeper {self._version or '(it does not tell its version)'}"
        begun = self._clock.now()

        async def work(turn: Turn) -> None:
            turn.note(await turn.look())

        await self._ask("health", work)
        flaws = flaws_of(self._version, words.FLAWS)
        return Health(called, seconds(self._clock.now() - begun), _SCHEMA, flaws)

    # -- inside -----------------------------------------------------------------------------------------------------

    @property
    def _lag(self) -> int:
        """One tick, in ms: so late an ensemble may know of what a server has answered (R27)."""
        return self._tick or -(-self._least // 2)  # the least timeout is two ticks, if nothing else was set

    @property
    def _least_ttl(self) -> int:
        return max(_LEAST_TTL, (self._least - self._lag) * _MILLISECOND)

    def _in_words(self, error: Exception) -> str | LocumError:
        from locum.stores.zookeeper.faults import in_words

        return in_words(error, self.url)

    async def _connect(self) -> ZooKeeperConnection:
        from locum.stores.zookeeper.connection import ZooKeeperConnection

        return await ZooKeeperConnection.make(self._address, within=self.call_timeout, timeout=_IDLE)

    async def _learn_least(self) -> None:
        """Ask for less than any server grants, and see what it grants; and whether it has what is needed.

        Persistent watches came with 3.6: a server that knows none is older.
        """
        from locum.stores.zookeeper import protocol
        from locum.stores.zookeeper.connection import ZooKeeperConnection

        async def connect() -> ZooKeeperConnection:
            return await ZooKeeperConnection.make(self._address, within=self.call_timeout, timeout=1)

        async def work(turn: Turn) -> int:
            await turn.connection.ask(protocol.watch(self._layout.store))
            return turn.connection.greeting.timeout

        link = self._lines.another(connect)
        try:
            self._least = await self._transactions.call(link, "open", work, changes=False, compared=False)
        finally:
            await link.close()

    async def _beat_elsewhere(self, turn: Turn, session_id: str) -> None:
        """The refusal of a beat for a session that no connection of this process is."""
        from locum.stores.zookeeper.sessions import closed

        look, status = await self._sessions.status(turn, session_id)
        turn.note(look)
        if not status.is_open:
            raise closed(status)
        raise ConflictError(f"session/{session_id}", None, "another process has opened it, and beats for it")

    async def _may_live(self, session_id: str) -> bool:
        """Whether an opening that raised may have happened: then its ZooKeeper session is gone on with."""
        return session_id in self._leases and not self._leases[session_id][0].expired

    async def _forget(self, session_id: str) -> None:
        _, link = self._leases.pop(session_id, (None, None))
        if link is not None:
            await link.close()

    async def _ask(self, name: str, work: Callable[[Turn], Awaitable[T]]) -> T:
        self._lines.demand_open()
        return await self._transactions.call(self._lines.others, name, work, changes=False)

    async def _change(self, name: str, work: Callable[[Turn], Awaitable[T]]) -> T:
        self._lines.demand_open()
        return await self._transactions.call(self._lines.others, name, work, changes=True)

    async def _as_it_is(self, name: str, work: Callable[[Turn], Awaitable[T]]) -> T:
        self._lines.demand_open()
        return await self._transactions.call(self._lines.others, name, work, changes=True, compared=False)

    async def _take_up(self, name: str, work: Callable[[Turn], Awaitable[Seen]]) -> Seen:
        before = self.seen
        found = await self._as_it_is(name, work)
        if before is None or found.incarnation != before.incarnation:
            for session_id in list(self._leases):
                await self._forget(session_id)
        self._sight.adopt(found)
        self._wakeups.tell_all()
        return found
