"""One replica of one partition, as an instance carries it: opened, a secondary, the primary, and back again."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, TypeVar

from locum.clock import seconds
from locum.coordination.replica_report import Told
from locum.coordination.term import Term  # in a signature that is read when the program runs
from locum.errors import StopTimeoutError
from locum.scopes import cancel_and_wait
from locum.services.road import Move
from locum.services.terms import Duty
from locum.state.role import Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from locum.clock import Clock
    from locum.coordination.election import Election
    from locum.scopes import Scope
    from locum.services.stateful import ReplicaLife
    from locum.services.terms import Terms

__all__ = ["Replica"]

T = TypeVar("T")


class Replica:
    """Carries one partition, from one object to the next, until it is told to leave.

    Args:
        make: Builds an object, and its life.
        election: Decides who is the primary.
        terms: Those of the service.
        scope: Owns its tasks; it waits for each.
        clock: Measures how long its objects live.
        judge: Tells of what an object has failed with after so many seconds; how long to rest, `None` for good.
        changed: Told when it has another role, or goes on.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[ReplicaLife]],
        election: Election,
        *,
        terms: Terms,
        scope: Scope,
        clock: Clock,
        judge: Callable[[Exception, float], float | None],
        changed: Callable[[], object],
    ) -> None:
        self._make, self.election, self._terms, self._scope = make, election, terms, scope
        self._clock, self._judge, self._changed = clock, judge, changed
        self._life: ReplicaLife | None = None
        self._waiting: asyncio.Task[Any] | None = None
        """What is cancelled where it is to leave: its way up, or its place in line."""
        self.term: Term | None = None
        self.leaving = ""
        """Why it is to leave, in words that follow the instance's name; empty if it is not."""

    @property
    def role(self) -> Role:
        """What it is."""
        return Role.NONE if self._life is None else self._life.role

    @property
    def told(self) -> Told | None:
        """What is told of it, for people; `None` where it has no role."""
        if self._life is None or self._life.role is Role.NONE:
            return None
        state = self._life.state
        return Told(state.position, math.ceil(state.staleness) if math.isfinite(state.staleness) else None)

    def leave(self, why: str) -> None:
        """Close it: as the primary by a planned end of its term."""
        self.leaving = self.leaving or why
        if self.term is not None:
            self.term.ask_to_resign(why)
        elif self._waiting is not None:
            self._waiting.cancel()

    async def carry(self) -> None:
        """Carry it until it has left.

        Raises:
            StopTimeoutError: Its work would not end, and the service stops.
            ExceptionGroup: What went wrong on its last way down.
        """
        while not self.leaving:
            begun = self._clock.now()
            try:
                await self._one_life()
            except (StopTimeoutError, asyncio.CancelledError):
                raise
            except Exception as error:
                if self.leaving:
                    raise
                delay = self._judge(error, seconds(self._clock.now() - begun))
                if delay is None:
                    return
                await self._terms.pause(delay)
                self._changed()

    async def _one_life(self) -> None:
        self._life = life = await self._make()
        try:
            is_up = False
            try:
                is_up = await self._up(life, Move.OPEN) and await self._up(life, Move.STAND_BY)
            finally:
                if not is_up:
                    await life.down(Move.ABORT)
            self._changed()
            while life.role is not Role.NONE and not self.leaving:
                await self._one_term(life)
        finally:
            if life.role is not Role.NONE:
                await life.down(Move.CLOSE)
            self._life = None
            self._changed()
        if life.errors:
            raise ExceptionGroup(f"{life.place} did not end as it should", life.errors)

    async def _one_term(self, life: ReplicaLife) -> None:
        """Stand in line, be the primary, and be a secondary again."""
        term = await self._win()
        if term is None:
            return
        self.term = term
        if self.leaving:
            term.ask_to_resign(self.leaving)
        try:
            outcome = await self._terms.work(
                Duty(
                    term=term,
                    source=self.election,
                    work=self._be_primary,
                    what=str(life.place),
                    before_asked=life.silence,
                )
            )
        finally:
            self.term = None
            self._changed()
        if outcome.error is not None:
            raise outcome.error
        if life.errors:
            raise ExceptionGroup(f"{life.place} did not end as it should", life.errors)
        if life.role is Role.SECONDARY and not self.leaving:
            await self._up(life, Move.STAND_BY)

    async def _up(self, life: ReplicaLife, move: Move) -> bool:
        """Take it a way up, to its end unless it is to leave; whether it is there."""
        going = await self._unless_leaving(life.up(move), f"way up of {life.place}")
        return not going.cancelled() and going.result() is None

    async def _win(self) -> Term | None:
        """Wait until it is the primary; `None` if it is to leave before that."""
        winning = await self._unless_leaving(self.election.win(), "standing in line")
        return None if winning.cancelled() else winning.result()

    async def _unless_leaving(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Wait for the end of something, which is cancelled where it is to leave; its task."""
        going = self._waiting = self._scope.spawn(work, name=name)
        try:
            await asyncio.wait([going])
        except asyncio.CancelledError:
            await cancel_and_wait(going)
            raise
        finally:
            self._waiting = None
        return going

    async def _be_primary(self, term: Term) -> None:
        def down() -> Move:
            if term.is_lost:
                return Move.LOSE
            return Move.CLOSE if self.leaving else Move.DEMOTE

        if self._life is not None:
            await self._life.live(term, up=Move.PROMOTE, down=down, opened=self._changed)
