"""The leases of one process as its own event loop sees them: one after the other, whoever keeps them.

The keeper's word comes over a pipe (`link.py`) or out of a thread (`thread.py`); what it means here is the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.forks import part_at_forks, part_loop, stay_at_forks
from locum.identity import Origin
from locum.keeper.lease import Lease
from locum.keeper.timer import Alarm
from locum.telemetry import InstanceJoined, InstanceLost, StoreLost, StoreRestored

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.keeper.budget import Budget
    from locum.keeper.cell import Cell
    from locum.keeper.owner import Owner
    from locum.scopes import Scope
    from locum.store import Seen
    from locum.telemetry import Events

__all__ = ["Leases"]


class Leases:
    """Holds the lease that is there, tells its end, and shows the keeper that the loop turns.

    Args:
        cell: Where the deadlines stand.
        clock: The clock on which they are counted.
        scope: Owns the tasks.
        events: Told of sessions lost and had again, and of other instances.
        make_alarm: Makes what rings on that clock.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        clock: Clock,
        scope: Scope,
        events: Events,
        make_alarm: Callable[[Callable[[], object]], Alarm] = Alarm,
    ) -> None:
        self.clock = clock
        self._cell, self._scope, self._events = cell, scope, events
        self._origin = Origin("the lease of this instance")
        self._owner: Owner | None = None
        self._lease: Lease | None = None
        self._changed = asyncio.Event()
        self._over: Exception | None = None
        self.turn_every = 1.0
        """Seconds from one sign to the keeper that this loop turns to the next."""
        self._deadline = make_alarm(self._on_deadline)
        self.seen: Seen | None = None
        self._loop = asyncio.get_running_loop()
        part_at_forks(self)

    @property
    def owner(self) -> Owner:
        """What the session's record says of this instance."""
        if self._owner is None:
            raise RuntimeError("the start gate has not been passed")
        return self._owner

    async def lease(self) -> Lease:
        """The lease that is there now; waits while there is none.

        Raises:
            CoordinationError: There will be none any more.
            ForkedError: This is a forked child.
        """
        self._origin.check()
        while self._lease is None:
            if self._over is not None:
                raise self._over
            self._changed.clear()
            await self._changed.wait()
        return self._lease

    # -- the keeper's word

    def begin(self, session: str, generation: int, budget: Budget, owner: Owner, seen: Seen | None) -> None:
        """A session is there: the start gate opens, or opens again."""
        self._owner, self.seen = owner, seen
        self._lease = Lease(session, generation, budget, self._cell, self.clock)
        self._deadline.set(self._lease.cancel_at)
        self._changed.set()
        if generation > 1:
            self._events.tell(StoreRestored(instance=self._events.instance))
        else:
            self._scope.spawn(self._turn(), name="turns of the loop")

    def lose(self, why: str) -> None:
        """The session is over; what is told twice happens once."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        self._deadline.clear()
        self._events.tell(StoreLost(instance=self._events.instance, why=why))
        lease.lose(why)

    def finish(self, error: Exception, why: str) -> None:
        """There will be no lease any more.

        Args:
            error: What whoever waits for one is told.
            why: Of the end of the one that is there, in words.
        """
        self._over = error
        lease, self._lease = self._lease, None
        self._deadline.clear()
        self._changed.set()
        if lease is not None:
            lease.lose(why)

    def part(self) -> None:
        """A forked child must not take from the parent's event loop what it closes of its own."""
        part_loop(self._loop)

    def dispose(self) -> None:
        """Let go of the alarm."""
        stay_at_forks(self)
        self._deadline.close()

    def joined(self, name: str, machine: str) -> None:
        """Another instance is there."""
        self._events.tell(InstanceJoined(instance=self._events.instance, name=name, machine=machine))

    def gone(self, name: str, why: str) -> None:
        """Another instance is gone."""
        self._events.tell(InstanceLost(instance=self._events.instance, name=name, why=why))

    # -- inside

    def _on_deadline(self) -> None:
        lease = self._lease
        if lease is None:
            return
        if lease.is_current:
            self._deadline.set(lease.cancel_at)  # a beat was answered since the alarm was set
            return
        lease.miss(f"lost its lease: no answer from the store for {seconds(lease.budget.ttl) * 0.6:.1f} s")
        # the session may yet live: look again, for terms that begin after an answer has come
        self._deadline.set(self.clock.now() + lease.budget.beat)

    async def _turn(self) -> None:
        """Show the keeper that this event loop turns."""
        while True:
            self._origin.check()  # a forked child that lives on in this loop says nothing of its parent's
            self._cell.turned_at = self.clock.now()
            await self.clock.sleep(self.turn_every)
