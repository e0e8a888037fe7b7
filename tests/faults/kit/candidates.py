"""Candidates of one process on the real store, each behind a network of its own.

Each has a session that beats and looks after its neighbours, as an instance does. One that crashes says nothing any
more, and its session is closed by the others, who see it silent.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from locum.clock import Clock, nanoseconds
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.coordination.election import Election
from locum.coordination.fence import fence_of
from locum.keeper.cell import Cell
from locum.keeper.keeping import Keeping
from locum.keeper.leases import Leases
from locum.keeper.memory import Memory
from locum.keeper.owner import Ending
from locum.scopes import Scope
from locum.telemetry import Events
from locum.testing.instances import owner_named
from tests.faults.kit.lossy import LossyFence, LossyStore, Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.fence import Fence
    from locum.coordination.term import Term
    from locum.keeper.lease import Lease
    from locum.keeper.owner import Owner
    from locum.keeper.session import Loss, Session
    from locum.store import Seen, Store

__all__ = ["Candidate", "Ground", "Terms", "candidate"]


class Ground(NamedTuple):
    """What the candidates of one scenario share.

    Attributes:
        url: The store.
        orders: The file of the database that they fence.
    """

    url: str
    orders: Path


class HastyClock(Clock):
    """A clock by which nobody sleeps for long."""

    async def sleep(self, duration: float) -> None:
        await super().sleep(min(duration, 0.2))


class Terms:
    """All terms of all candidates: never two of them are current, and their tokens only grow."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.dead: set[str] = set()

    def begin(self, term: Term) -> None:
        """A body begins."""
        assert not self.terms or term.token > self.terms[-1].token, f"{term.token} follows {self.terms[-1].token}"
        self.terms.append(term)
        self.check()

    def check(self) -> None:
        """Fail if two are current; those of the dead are not."""
        current = [term for term in self.terms if term.instance not in self.dead and term.is_current]
        assert len(current) <= 1, f"two are current: {[(term.instance, term.token) for term in current]}"


class Kept:
    """What a keeper keeps, in the very loop of its candidate: the leases hear of it at once."""

    def __init__(self, leases: Leases, lost: list[str]) -> None:
        self._leases, self._lost = leases, lost
        self.beats = 0
        """How many beats were answered."""

    def may_beat(self) -> bool:
        return True

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        self._leases.begin(session.id, generation, session.budget, session.owner, seen)

    def beaten(self) -> None:
        self.beats += 1

    def overdue(self) -> None:
        """Nobody is killed here: the bodies count as ended."""

    async def end_bodies(self, loss: Loss) -> None:
        """The same."""

    def lost(self, why: str) -> None:
        self._lost.append(why)
        self._leases.lose(why)

    def joined(self, owner: Owner) -> None:
        """Nobody listens."""

    def gone(self, owner: Owner, why: str) -> None:
        """Nobody listens."""


class KeptLeases(Leases):
    """Leases whose keeper is a task of the same loop."""

    def __init__(self, store: Store, name: str, ttl: float, scope: Scope, events: Events) -> None:
        memory = Cell.make()
        super().__init__(Cell(memory), clock=Clock(), scope=scope, events=events)
        os.close(memory)
        self._store, self._ttl = store, ttl
        self._handles = 0
        self.losses: list[str] = []
        """How the sessions were lost."""
        self.kept = Kept(self, self.losses)
        self._owner = owner_named(name)
        self.keeping = Keeping(self.kept, name, cell=self._cell, clock=self.clock, timer=None, memory=Memory())

    async def keep(self) -> None:
        """One session after the other, for ever."""
        await self.keeping.keep(self._store, self.owner, nanoseconds(self._ttl))

    async def close(self) -> None:
        """The planned end of the session."""
        assert self.keeping.session is not None
        self._cell.end()
        self.kept.lost("stopped")
        await self.keeping.session.close(Ending("stopped"))

    def dispose(self) -> None:
        """Let go of the alarms."""
        super().dispose()
        self.keeping.close()

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        self._handles += 1
        return self._handles if self.keeping.arm(self._handles, lease.generation, token) else None

    def disarm(self, handle: int) -> None:
        self.keeping.disarm(handle)

    def give_up(self, lease: Lease, why: str) -> None:
        self.keeping.forsake(lease.generation, why)


class Candidate:
    """One that wants to lead, as an instance does: session, election, and the trip from one end to the other."""

    def __init__(self, ground: Ground, name: str, ttl: float, terms: Terms, *, fenced: bool) -> None:
        self.name, self.ttl, self.terms = name, ttl, terms
        self.network = Network(ttl)
        self.store = LossyStore(ground.url, self.network)
        self.store.call_timeout = 10.0
        self.scope = Scope(name, on_error=lambda _task, _error: None)
        events = Events(name, lambda work, task: self.scope.spawn(work, name=task))
        self.leases = KeptLeases(self.store, name, ttl, self.scope, events)
        self.database = sqlite3.connect(ground.orders, isolation_level=None, timeout=5)
        fence = LossyFence(fence_of(self.database), self.network)
        self.commons = Commons(self.store, self.leases, events=events, fences=lambda: [cast("Fence", fence)] * fenced)
        self.keeping: asyncio.Task[None] | None = None
        self.stops = False
        """Whether it has begun to stop."""

    def begin(self) -> None:
        """Open the session, and keep it."""
        self.store.call_timeout = self.ttl / 6
        self.keeping = self.scope.spawn(self.leases.keep(), name="session")

    async def lead(self, *, beats: int = 2) -> None:
        """Win, work for some beats, and resign; again, if the term was lost or could not begin."""
        election = Election(self.commons, "settle")
        while True:
            try:
                async with election.lead() as term:
                    self.terms.begin(term)
                    until = self.leases.kept.beats + beats
                    while self.leases.kept.beats < until:
                        self.terms.check()
                        await asyncio.sleep(0.002)
                return
            except AssertionError:
                raise
            except Exception:  # as a service does: the term was lost, or a fence could not be raised
                await asyncio.sleep(0.05)

    async def trip(self) -> None:
        """From the session's opening to its close."""
        self.begin()
        await self.lead()
        assert self.keeping is not None
        self.stops = True
        await self.commons.close(patience=2 * self.ttl)
        self.keeping.cancel()
        await self.leases.close()

    async def sweep(self) -> None:
        """Look for leftovers from now on, as every instance does, but sooner."""
        self.commons.clock = HastyClock()
        await Coordinator(self.commons).open()

    def die(self) -> None:
        """As a process ends that is killed: at this very moment, and nobody is told."""
        self.terms.dead.add(self.name)
        self.network.cut()

    async def bury(self) -> None:
        """Clear away what is left of it in this process."""
        self.network.cut()
        await self.scope.close()
        await self.commons.close(patience=0)
        self.leases.dispose()
        await asyncio.gather(*self.network.on_its_way, return_exceptions=True)
        await self.store.close()
        self.database.close()


@asynccontextmanager
async def candidate(
    ground: Ground, name: str, ttl: float, terms: Terms, *, fenced: bool = True
) -> AsyncIterator[Candidate]:
    """A candidate on a ground."""
    made = Candidate(ground, name, ttl, terms, fenced=fenced)
    await made.store.open()
    try:
        yield made
    finally:
        await made.bury()
