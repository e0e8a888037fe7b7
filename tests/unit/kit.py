"""What these tests share: clocks that obey, a store behind a bad network, an instance without a keeper process."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from locum.clock import NANOSECONDS, Clock, nanoseconds
from locum.coordination.commons import Commons
from locum.coordination.election import Election
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.identity import MachineKey, ProcessId
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.lease import Lease
from locum.keeper.owner import Owner
from locum.names import random_id
from locum.scopes import Scope
from locum.stores.sqlite import SqliteStore
from locum.telemetry import Event, Events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from locum.store import Expect, Listing, Record, Seen, SessionInfo

LONG = 20.0
"""Seconds after which something that takes milliseconds has not happened."""

T = TypeVar("T")


async def until(condition: Callable[[], object], what: str) -> None:
    """Ask again and again, for what nobody signals to this process."""
    try:
        async with asyncio.timeout(LONG):
            while not condition():  # noqa: ASYNC110 - what the kernel or another process does, nobody signals here
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def soon(awaitable: Awaitable[T]) -> T:
    """The outcome of something that must not take long."""
    async with asyncio.timeout(LONG):
        return await awaitable


async def turns(count: int = 20) -> None:
    """Let the event loop turn, for what needs no more than that."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_files() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


# -- time


class ShiftedClock(Clock):
    """The real clock, some time ahead."""

    def __init__(self) -> None:
        self.ahead = 0

    def shift(self, duration: float) -> None:
        self.ahead += nanoseconds(duration)

    def now(self) -> int:
        return super().now() + self.ahead


class ManualClock(Clock):
    """A clock that goes only when told to, or when somebody sleeps by it."""

    def __init__(self) -> None:
        self.instant = 1_000 * NANOSECONDS
        self.slept: list[float] = []

    def now(self) -> int:
        return self.instant

    def pass_by(self, duration: float) -> None:
        self.instant += nanoseconds(duration)

    async def sleep(self, duration: float) -> None:
        self.slept.append(duration)
        self.instant += max(0, nanoseconds(duration))
        await asyncio.sleep(0)


# -- a store behind a bad network


async def request_lost(call: Callable[[], Awaitable[Any]]) -> Any:
    """The store never hears of it."""
    raise OutcomeUnknownError("the store", "the call")


async def answer_lost(call: Callable[[], Awaitable[Any]]) -> Any:
    """The store does it, and nobody hears of that."""
    await call()
    raise OutcomeUnknownError("the store", "the call")


async def refused(call: Callable[[], Awaitable[Any]]) -> Any:
    """The store is not there."""
    raise StoreUnavailableError("the store", "nobody is there")


async def passes(call: Callable[[], Awaitable[Any]]) -> Any:
    """Nothing is wrong with this call."""
    return await call()


class Held:
    """A call that waits until it is let go: its request, or its answer.

    Attributes:
        reached: Set when the call waits.
    """

    def __init__(self, *, answer: bool, lost: bool = False) -> None:
        self._answer, self._lost = answer, lost
        self.reached, self._go = asyncio.Event(), asyncio.Event()

    def let_go(self) -> None:
        self._go.set()

    async def __call__(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._answer:
            result = await call()
            await self._wait()
        else:
            await self._wait()
            result = await call()
        if self._lost:
            raise OutcomeUnknownError("the store", "the call")
        return result

    async def _wait(self) -> None:
        self.reached.set()
        await self._go.wait()


class FaultyStore(SqliteStore):
    """The real store; what happens to a call on its way there and back can be planned."""

    def __init__(self, path: Path, *, namespace: str, clock: Clock) -> None:
        super().__init__(path, namespace=namespace, clock=clock)
        self.calls: list[tuple[str, object]] = []
        self.answers: list[tuple[str, object]] = []
        self._plans: dict[tuple[str, str], deque[Any]] = defaultdict(deque)
        self._always: dict[tuple[str, str], Any] = {}

    def plan(self, name: str, *faults: Any, key: str = "") -> None:
        """What happens to the next calls of that name, to keys that begin so."""
        self._plans[name, key].extend(faults)

    def always(self, name: str, fault: Any | None, key: str = "") -> None:
        """What happens to all calls from now on; `None` for nothing."""
        self._always[name, key] = fault

    def count(self, name: str, key: str = "") -> int:
        """How many such calls were made."""
        return len([1 for called, what in self.calls if called == name and str(what).startswith(key)])

    def answered(self, name: str, key: str = "") -> int:
        """How many such calls have been answered."""
        return len([1 for called, what in self.answers if called == name and str(what).startswith(key)])

    async def _through(self, name: str, what: object, call: Callable[[], Awaitable[T]]) -> T:
        self.calls.append((name, what))
        result = await self._faulty(name, what, call)
        self.answers.append((name, what))
        return result

    async def _faulty(self, name: str, what: object, call: Callable[[], Awaitable[T]]) -> T:
        for (planned, key), faults in self._plans.items():
            if planned == name and faults and str(what).startswith(key):
                result: T = await faults.popleft()(call)
                return result
        for (planned, key), fault in self._always.items():
            if planned == name and fault is not None and str(what).startswith(key):
                result = await fault(call)
                return result
        return await call()

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        real = super().open_session
        return await self._through("open_session", session_id, lambda: real(owner, ttl, session_id))

    async def beat(self, session_id: str, number: int) -> None:
        real = super().beat
        await self._through("beat", number, lambda: real(session_id, number))

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        real = super().close_session
        await self._through("close_session", session_id, lambda: real(session_id, reason=reason))

    async def read(self, key: str) -> Record | None:
        real = super().read
        return await self._through("read", key, lambda: real(key))

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
    ) -> Record:
        real = super().write
        return await self._through(
            "write",
            key,
            lambda: real(key, value, expect=expect, session=session, if_open=if_open, if_gone=if_gone),
        )

    async def list(self, prefix: str) -> Listing:
        real = super().list
        return await self._through("list", prefix, lambda: real(prefix))

    async def delete(self, key: str, *, expect: Expect) -> None:
        real = super().delete
        await self._through("delete", key, lambda: real(key, expect=expect))


@asynccontextmanager
async def opened(
    path: Path, *, namespace: str = "billing", clock: Clock | None = None, call_timeout: float = 10.0
) -> AsyncIterator[FaultyStore]:
    """An open store on a file."""
    store = FaultyStore(path, namespace=namespace, clock=clock or Clock())
    store.call_timeout = call_timeout
    await store.open()
    try:
        yield store
    finally:
        await store.close()


# -- an instance without a keeper process


def owner_named(name: str) -> Owner:
    """An instance that lives in this process."""
    me = ProcessId.of_this_process()
    return Owner(name, "here", MachineKey.of_this_process(), keeper=me, worker=me)


class InProcessLeases:
    """Leases over real sessions and a real cell, whose loss the test decides. Nothing beats: the TTL is long."""

    def __init__(self, store: SqliteStore, name: str, clock: Clock, ttl: float) -> None:
        self._store, self._ttl = store, ttl
        self.clock = clock
        self.owner = owner_named(name)
        self.seen: Seen | None = None
        self._memory = Cell.make()
        self.cell = Cell(self._memory)
        self._generation = 0
        self._lease: Lease | None = None
        self._there = asyncio.Event()
        self.armed: set[int] = set()
        self._handles = 0
        self.before_arming: Callable[[], None] = lambda: None
        self.after_arming: Callable[[], None] = lambda: None

    async def begin(self) -> Lease:
        """A new session."""
        sent = self.clock.now()
        info = await self._store.open_session(self.owner.to_bytes(), nanoseconds(self._ttl), random_id())
        budget = Budget.of(info.ttl)
        self._generation += 1
        self.cell.begin(self._generation, budget.cancel_at(sent), budget.kill_at(sent))
        self._lease = Lease(info.id, self._generation, budget, self.cell, self.clock)
        self._there.set()
        return self._lease

    def lose(self, why: str) -> None:
        """The session is over; there is no lease until `begin`."""
        lease, self._lease = self._lease, None
        assert lease is not None
        self._there.clear()
        self.cell.end()
        lease.lose(why)

    async def die(self, why: str) -> None:
        """The session is closed in the store too."""
        assert self._lease is not None
        await self._store.close_session(self._lease.session, reason=why.encode())
        self.lose(why)

    async def lease(self) -> Lease:
        while self._lease is None:
            await self._there.wait()
        return self._lease

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        del token
        self.before_arming()
        if not lease.is_current:
            return None
        self._handles += 1
        self.armed.add(self._handles)
        self.after_arming()
        return self._handles

    def disarm(self, handle: int) -> None:
        self.armed.discard(handle)

    def give_up(self, lease: Lease, why: str) -> None:
        assert lease is self._lease
        self.lose(why)

    def close(self) -> None:
        self.cell.close()
        os.close(self._memory)


class Instance:
    """One candidate: a store of its own, leases, the common ground, and the events it told."""

    def __init__(self, store: FaultyStore, leases: InProcessLeases) -> None:
        self.store, self.leases = store, leases
        self.told: list[Event] = []
        self._scope = Scope(leases.owner.name)
        self.events = Events(leases.owner.name, lambda work, name: self._scope.spawn(work, name=name))
        self.events.on(Event, self.told.append)
        self.fences: list[Any] = []
        self.commons = Commons(store, leases, events=self.events, fences=lambda: self.fences)
        self._elections: dict[str, Election] = {}

    def election(self, name: str) -> Election:
        """The election of that name, which knows the claims of its terms."""
        return self._elections.setdefault(name, Election(self.commons, name))


@asynccontextmanager
async def instance(path: Path, name: str, *, ttl: float = 60.0, clock: Clock | None = None) -> AsyncIterator[Instance]:
    """An instance on a store's file, with a session."""
    clock = clock or Clock()
    async with opened(path, clock=clock) as store:
        leases = InProcessLeases(store, name, clock, ttl)
        await leases.begin()
        made = Instance(store, leases)
        try:
            yield made
        finally:
            await made.commons.close(patience=LONG)
            leases.close()
