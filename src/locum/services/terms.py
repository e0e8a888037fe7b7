"""Working under terms: a body from its first step to the release of its term, or to the end of its process.

The order of every end: asked, heard out, not current any more, cancelled, awaited; only then released (R18). What was
lost is not heard out, and what will not end takes its process with it (R19).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from locum import exit_codes
from locum.clock import seconds
from locum.coordination.hold import Hold
from locum.errors import StaleTermError, StopTimeoutError
from locum.scopes import Scope
from locum.service import Mode, grace_of
from locum.services.bodies import Body
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from locum.keeper.lease import Lease
    from locum.service import Surroundings

__all__ = ["Duty", "Outcome", "Source", "Terms"]

_log = logger("services.terms")
T = TypeVar("T", bound=Hold)
S = TypeVar("S", bound=Hold, contravariant=True)


class Source(Protocol[S]):
    """Where a term comes from, and what becomes of it."""

    def rest(self, term: S, /) -> None:
        """Keep it, though its work has ended."""

    async def resign(self, term: S, why: str, /) -> None:
        """Give it up."""

    async def refused(self, error: StaleTermError, /) -> None:
        """A fence has refused its token."""

    def abandon(self, term: S, /) -> None:
        """Have done with it: it was lost."""

    def give_up(self, term: S, why: str, /) -> None:
        """Have done with it, though its work would not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty(Generic[T]):
    """What is to be done under one term.

    Attributes:
        term: The term; it is ours.
        source: Where it is given back.
        work: The body, called with the term.
        what: What works, for messages.
        before_asked: Called before the body is asked to end, with the seconds that this may take.
        on_rest: Called when the body has returned, and its term is kept.
        on_failure: Gives the term up whose body has failed, told why, with what and after how many seconds; without it
            that is a release like any other.
        on_late_end: Called when the body has ended that had outlived its term.
    """

    term: T
    source: Source[T]
    work: Callable[..., object]
    what: str
    before_asked: Callable[[float], Awaitable[None]] | None = None
    on_rest: Callable[[], object] | None = None
    on_failure: Callable[[str, BaseException, float], Awaitable[None]] | None = None
    on_late_end: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a term that is over.

    Attributes:
        error: What its body failed with; `None` if it did not, or the term was lost.
        ran: Seconds from its beginning until the body had ended by itself, or the term was over.
    """

    error: BaseException | None
    ran: float


class Terms:
    """The terms of one service, of which it may have several at once.

    Args:
        service: The service's name.
        surroundings: Its host.
        stop_timeout: Seconds that a planned end may take.
    """

    def __init__(self, service: str, *, surroundings: Surroundings, stop_timeout: float) -> None:
        self.scope = Scope(service, on_error=self._on_error)
        """Owns all tasks of the service."""
        self.service = service
        self.is_stopping = False
        self._surroundings, self._limit = surroundings, stop_timeout
        self._asked_to_stop = asyncio.Event()
        self._bodies: set[Body] = set()
        self._stuck: set[Body] = set()
        self._warned_of: Lease | None = None
        self._failed_with: Lease | None = None

    @property
    def is_stuck(self) -> bool:
        """Whether a body still runs whose term is over."""
        return bool(self._stuck)

    # -- stopping

    def ask_to_stop(self, *, within: float) -> None:
        """The service stops: nothing is paused for any more, and planned ends may take so many seconds."""
        self.is_stopping, self._limit = True, within
        self._asked_to_stop.set()

    def hurry(self) -> None:
        """Cancel the bodies now that are ending by themselves."""
        for body in self._bodies:
            body.hurry()

    async def ended(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Wait for the end of what sees to the terms.

        Raises:
            StopTimeoutError: Of one of them, whose body would not end.
        """
        waited = list(tasks)
        if waited:
            await asyncio.wait(waited)
        for task in waited:
            if not task.cancelled() and isinstance(error := task.exception(), StopTimeoutError):
                raise error

    async def pause(self, delay: float) -> None:
        """Sleep for so many seconds, unless the service stops before."""
        sleeping = self.scope.spawn(self._surroundings.clock.sleep(delay), name="pause")
        try:
            await self._ends_before_the_stop(sleeping)
        finally:
            sleeping.cancel()

    # -- one term

    async def work(self, duty: Duty[T]) -> Outcome:
        """Work under a term until it is over, and give it up (or abandon it).

        Raises:
            StopTimeoutError: The body would not end, and the service stops: the term is not released.
        """
        clock, term = self._surroundings.clock, duty.term
        begun = clock.now()
        body = Body(self.service, self._surroundings.call(duty.work, term), scope=self.scope)
        self._bodies.add(body)
        over = self.scope.spawn(term.over(), name=f"end of {term.scope}")
        try:
            await asyncio.wait([body.task, over], return_when=asyncio.FIRST_COMPLETED)
            ran = seconds(clock.now() - begun)
            has_completed = _has_returned(body) and not over.done()
            if has_completed:
                duty.source.rest(term)
                if duty.on_rest is not None:
                    duty.on_rest()
                await asyncio.wait([over])
            return Outcome(await self._end(duty, body, ran, has_completed=has_completed), ran)
        finally:
            over.cancel()
            self._bodies.discard(body)

    async def _end(self, duty: Duty[T], body: Body, ran: float, *, has_completed: bool) -> BaseException | None:
        """End it, in the way that fits; what the body failed with."""
        term = duty.term
        if term.is_lost:
            await self._end_lost(duty, body, has_completed=has_completed)
            return None
        error = body.error
        if body.task.cancelled() and term.wish is None:
            error = RuntimeError("the body was cancelled, and not by Locum")
        if error is None:
            await self._end_planned(duty, body, term.wish or "resigned")
            return None
        why = f"raised {type(error).__name__}: {error}"
        if isinstance(error, StaleTermError):
            await duty.source.refused(error)
        if duty.on_failure is None:
            await duty.source.resign(term, why)
        else:
            await duty.on_failure(why, error, ran)
        return error

    async def _end_planned(self, duty: Duty[T], body: Body, why: str) -> None:
        """Asked, not current any more, cancelled, awaited; only then released.

        What listens has time to end by itself before that; so what it is in the middle of is still accepted.
        """
        term, limit = duty.term, self._limit
        if duty.before_asked is not None:
            limit -= await self._timed(duty.before_asked(limit / 2))
            if term.is_lost:
                await self._end_lost(duty, body, has_completed=False)
                return
        term.ask_to_stop(within=limit)
        grace = grace_of(limit) if term.listens and not body.task.done() else 0.0
        if grace:
            forget = term.lease.on_end(lambda _: body.hurry())
            term.when_going_on(body.hurry)
            await body.ends_by_itself(within=grace)
            forget()
            if term.is_lost:
                await self._end_lost(duty, body, has_completed=False)
                return
        term.end(why)
        try:
            await body.end(timeout=limit - grace)
        except StopTimeoutError:
            await self._outlast(duty, body, StopTimeoutError(self.service, limit))
            return
        if body.error is not None:
            _log.error("%s failed while it ended", duty.what, exc_info=exc_info_of(body.error))
        await duty.source.resign(term, why)

    async def _end_lost(self, duty: Duty[T], body: Body, *, has_completed: bool) -> None:
        """The body is ended; if it had not completed, the process ends with it: nobody knows what it left running."""
        term = duty.term
        why = term.ended or "lost its lease"
        if term.lease is not self._warned_of:  # once for all terms of a session
            self._warned_of = term.lease
            _log.warning("%s: %s %s; its work is cancelled.", self.service, term.instance, why)
        try:
            # a keeper kills what ignores this, unless beats are answered again before 80 %
            await body.end(timeout=min(self._limit, seconds(term.lease.budget.ttl)))
        except StopTimeoutError as error:
            await self._outlast(duty, body, error)
            return
        duty.source.abandon(term)
        if not has_completed and term.lease is not self._failed_with:
            self._failed_with = term.lease
            self._surroundings.fail(f"{self.service}: {why}", exit_codes.FENCED)

    async def _outlast(self, duty: Duty[T], body: Body, error: StopTimeoutError) -> None:
        """What would not end ends with its process; where that goes on, it counts as ended (R19).

        The service has no further term in its place until it has.
        """
        self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
        if self.is_stopping:
            raise error
        duty.source.give_up(duty.term, str(error))
        _log.error("%s still runs, though its term is over and its writes are refused.", duty.what)
        self._surroundings.show(self.service, Mode.STUCK)
        self._stuck.add(body)
        try:
            if not await self._ends_before_the_stop(body.task):
                raise error
        finally:
            self._stuck.discard(body)
        _log.warning("%s has ended at last.", duty.what)
        if duty.on_late_end is not None:
            duty.on_late_end()

    async def _timed(self, work: Awaitable[None]) -> float:
        begun = self._surroundings.clock.now()
        await work
        return seconds(self._surroundings.clock.now() - begun)

    async def _ends_before_the_stop(self, task: asyncio.Task[object]) -> bool:
        asked = self.scope.spawn(self._asked_to_stop.wait(), name="stop")
        try:
            await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return task.done()

    def _on_error(self, task: str, error: BaseException) -> None:
        if not isinstance(error, StopTimeoutError):
            _log.error("%s failed", task, exc_info=error)
            self._surroundings.fail(f"{task} failed: {error}", exit_codes.SERVICE_FAILED)


def _has_returned(body: Body) -> bool:
    return body.task.done() and body.error is None and not body.task.cancelled()
