"""Keeping sessions for a charge, one after the other: opened, beaten for, enforced, and closed when they are lost.

The *charge* is whoever works under the sessions: a worker process, or the process that embeds its keeper. Runs in the
keeper's own event loop, be that of a process or of a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from locum.clock import seconds
from locum.errors import StoreError, StoreReplacedError
from locum.floor import Floor
from locum.keeper.complaint import Complaint
from locum.keeper.neighbours import Neighbours
from locum.keeper.owner import Ending
from locum.keeper.session import Loss, Session
from locum.keeper.timer import Alarm
from locum.scopes import Backoff, Scope, cancel_and_wait, happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.keeper.budget import Budget
    from locum.keeper.cell import Cell
    from locum.keeper.memory import Memory
    from locum.keeper.owner import Owner
    from locum.keeper.timer import KillTimer
    from locum.store import Seen, Store

__all__ = ["Charge", "Keeping"]

_log = logger("keeper")


class Charge(Protocol):
    """Who works under the sessions."""

    def may_beat(self) -> bool:
        """Whether it is alive and not stopped (R10)."""

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        """A session is there, in a store of which so much was seen."""

    def beaten(self) -> None:
        """A beat was answered."""

    def overdue(self) -> None:
        """A body still runs at 80 % of the TTL."""

    async def end_bodies(self, loss: Loss) -> None:
        """The session is lost and bodies run under it; returns when they have ended, or count as ended (R19)."""

    def lost(self, why: str) -> None:
        """The session is lost, and nothing runs under it any more."""

    def joined(self, owner: Owner) -> None:
        """Another instance is there."""

    def gone(self, owner: Owner, why: str) -> None:
        """Another instance is gone."""


class Keeping:
    """One session after the other, and the timers that stand while bodies run under them (R6).

    Args:
        charge: Who works under them.
        name: The instance's name, for messages.
        cell: Where the charge reads its deadlines.
        clock: Counts them.
        timer: The kernel's kill of this process; `None` where the enforcement is `cancel`.
        memory: What was seen of the store before, and is added to.
        make_alarm: Makes what rings on that clock.
    """

    def __init__(
        self,
        charge: Charge,
        name: str,
        *,
        cell: Cell,
        clock: Clock,
        timer: KillTimer | None,
        memory: Memory,
        make_alarm: Callable[[Callable[[], object]], Alarm] = Alarm,
    ) -> None:
        self._charge, self._name, self._memory = charge, name, memory
        self._key = ""
        self._cell, self._clock, self._timer = cell, clock, timer
        self.session: Session | None = None
        self.generation = 0
        """Counts the sessions."""
        self._armed: set[int] = set()
        self._before: Seen | None = None
        self._idle = asyncio.Event()
        self._alarm = make_alarm(self._on_deadline)
        self._forsaken: asyncio.Future[str] | None = None

    async def keep(self, store: Store, owner: Owner, ttl: int) -> None:
        """Keep sessions for ever; to be run as a task.

        Args:
            store: An open store.
            owner: What the sessions' records say.
            ttl: The wanted TTL in nanoseconds.
        """
        self._key = str(owner.key)
        owner = replace(owner, kind="native" if store.guarantees().native_sessions else "observed")
        complaint, backoff = Complaint(self._name, self._clock), Backoff(0.05, seconds(ttl) / 6)
        loss: Loss | None = None
        async with Scope(f"sessions of {self._name}", on_error=_log_failure) as scope:
            while True:
                session = Session(
                    store, owner, ttl, clock=self._clock, may_beat=self._charge.may_beat, acknowledged=self._on_beat
                )
                try:
                    seen = await self._adopt(store, ttl, after=loss)
                    await session.open(told=complaint.tell)
                except StoreError as error:  # it is not there, or was exchanged meanwhile
                    complaint.tell(str(error))
                    await self._clock.sleep(backoff.delay())
                    continue
                complaint.clear()
                backoff.reset()
                self._begin(session, store, seen)
                neighbours = Neighbours(
                    store,
                    budget=session.budget,
                    clock=self._clock,
                    own=lambda: self.session.id if self.session else None,
                    key=self._key,
                    memory=self._memory,
                    joined=self._charge.joined,
                    gone=self._charge.gone,
                )
                watching = scope.spawn(neighbours.watch(), name="neighbours")
                loss = await self._until_lost(session, scope)
                await cancel_and_wait(watching)
                await self._lose(session, loss)

    async def _adopt(self, store: Store, ttl: int, *, after: Loss | None) -> Seen:
        """Accept the store as it is, now that no session of ours is left; if it is another, let no token fall (R24)."""
        before = self._before = self._before or store.seen  # an attempt without an answer may have changed it
        self._memory.see(max_ttl=ttl)
        now = await store.adopt(max_ttl=self._memory.max_ttl)
        if before is not None and before.incarnation != now.incarnation:
            if after is None or not after.certain:  # it did not answer while that happened: nobody was told of it
                _log.warning("%s: %s", self._name, StoreReplacedError(store.url, "it was exchanged meanwhile"))
            if self._memory.token:
                await Floor.lift(store, self._memory.token)
        self._before = None
        return now

    async def _until_lost(self, session: Session, scope: Scope) -> Loss:
        forsaken = self._forsaken = asyncio.get_running_loop().create_future()
        keeping = scope.spawn(session.keep(), name="beat")
        await asyncio.wait([keeping, forsaken], return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            return keeping.result()
        await cancel_and_wait(keeping)
        return Loss(forsaken.result(), certain=False)

    def _begin(self, session: Session, store: Store, seen: Seen) -> None:
        self.session = session
        self.generation += 1
        budget = session.budget
        store.call_timeout = budget.call_seconds
        self._cell.begin(self.generation, budget.cancel_at(session.sent), budget.kill_at(session.sent))
        self._charge.opened(session, self.generation, seen)

    async def _lose(self, session: Session, loss: Loss) -> None:
        """The session is lost: its terms are over at once; whoever still works under it is ended."""
        self._cell.end()
        if self._armed or (self._forsaken is not None and self._forsaken.done()):
            await self._charge.end_bodies(loss)
        self.disarm_all()
        _log.debug("%s has lost its session: %s.", self._name, loss.why)  # its worker tells it
        self._charge.lost(f"lost its session: {loss.why}")
        if not loss.certain:
            await session.close(Ending(f"lost its session: {loss.why}", self._clock.now(), self._key))

    # -- bodies

    @property
    def has_bodies(self) -> bool:
        """Whether a body runs under the session."""
        return bool(self._armed)

    def arm(self, handle: int, generation: int, token: int) -> bool:
        """A body is about to run: the timers stand from here on.

        Returns:
            Whether they do; otherwise the lease is over.
        """
        session = self.session
        if session is None or generation != self._cell.generation or self._clock.now() >= self._cell.kill_at:
            return False
        if not self._armed:
            self._set_timers(session.budget, session.sent)
        self._armed.add(handle)
        self._idle.clear()
        self._memory.see(token=token)
        return True

    def disarm(self, handle: int) -> None:
        """A body has ended."""
        self._armed.discard(handle)
        if not self._armed:
            self.disarm_all()

    def disarm_all(self) -> None:
        """No body runs any more."""
        self._armed.clear()
        self._idle.set()
        self._alarm.clear()
        if self._timer is not None:
            self._timer.disarm()

    async def bodies_end(self, *, by: int) -> bool:
        """Wait until no body runs under the session any more, at the longest until an instant (ns).

        Returns:
            Whether none does.
        """
        return not self._armed or await happens(self._idle.wait(), within=max(0.0, seconds(by - self._clock.now())))

    def forsake(self, generation: int, why: str) -> None:
        """End the session of that generation, for a body under it would not end."""
        if generation == self.generation and self._forsaken is not None and not self._forsaken.done():
            self._forsaken.set_result(why)

    def close(self) -> None:
        """Be gone; the session is the caller's to close."""
        self._alarm.close()

    def _set_timers(self, budget: Budget, sent: int) -> None:
        if self._timer is not None:
            self._timer.arm(self._cell.kill_at)
        self._alarm.set(budget.end_worker_at(sent))

    def _on_beat(self, budget: Budget, sent: int) -> None:
        cancel_at, kill_at = budget.cancel_at(sent), budget.kill_at(sent)
        if self._armed and self._clock.now() >= self._cell.cancel_at:
            cancel_at = 0  # its terms met their deadline: only the kill moves, so that they can drain (R5)
        self._cell.advance(cancel_at, kill_at)
        if self._armed:
            self._set_timers(budget, sent)
        self._charge.beaten()

    def _on_deadline(self) -> None:
        if self._armed:
            self._charge.overdue()


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed", task, exc_info=error)
