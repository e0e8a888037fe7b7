"""An instance without a keeper process: what takes part in elections, with a session whose loss the test decides."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from locum.clock import nanoseconds
from locum.coordination.commons import Commons
from locum.coordination.election import Election
from locum.identity import MachineKey, ProcessId
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.lease import Lease
from locum.keeper.owner import Owner
from locum.names import random_id
from locum.scopes import Scope
from locum.telemetry import Event, Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.store import Seen, Store
    from locum.testing.faults import FaultyStore

__all__ = ["InProcessLeases", "Instance", "owner_named"]


def owner_named(name: str) -> Owner:
    """An instance that lives in this process."""
    me = ProcessId.of_this_process()
    return Owner(name, "here", MachineKey.of_this_process(), keeper=me, worker=me)


class InProcessLeases:
    """Leases over real sessions and a real cell, whose loss the test decides. Nothing beats: the TTL is long.

    Args:
        store: An open store.
        name: The instance's name.
        clock: Counts the leases.
        ttl: Of the sessions, in seconds.
    """

    def __init__(self, store: Store, name: str, clock: Clock, ttl: float) -> None:
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
        assert lease is not None  # noqa: S101 - there is one to lose
        self._there.clear()
        self.cell.end()
        lease.lose(why)

    async def die(self, why: str) -> None:
        """The session is closed in the store too."""
        assert self._lease is not None  # noqa: S101 - there is one to lose
        await self._store.close_session(self._lease.session, reason=why.encode())
        self.lose(why)

    async def lease(self) -> Lease:
        """The lease, once there is one."""
        while self._lease is None:
            await self._there.wait()
        return self._lease

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        """Have a timer stand, or so it seems: nobody is killed here."""
        del token
        self.before_arming()
        if not lease.is_current:
            return None
        self._handles += 1
        self.armed.add(self._handles)
        self.after_arming()
        return self._handles

    def disarm(self, handle: int) -> None:
        """Let it fall."""
        self.armed.discard(handle)

    def give_up(self, lease: Lease, why: str) -> None:
        """End the session: the work would not end."""
        assert lease is self._lease  # noqa: S101 - a term has no other
        self.lose(why)

    def close(self) -> None:
        """Let go of the cell."""
        self.cell.close()
        os.close(self._memory)


class Instance:
    """One candidate: a store of its own, leases, the common ground, and the events it told.

    Args:
        store: An open store.
        leases: Its leases.
    """

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
