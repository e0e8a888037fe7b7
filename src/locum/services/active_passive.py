"""Services that run on every instance and work on one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable  # in signatures that are read when the program runs
from typing import TYPE_CHECKING, Any

from locum import exit_codes
from locum.clock import seconds
from locum.context import Context
from locum.errors import StopTimeoutError
from locum.scopes import Scope, cancel_and_wait
from locum.service import Mode, ServiceHooks, grace_of
from locum.services.bodies import Body
from locum.services.supervised import Supervised
from locum.telemetry import ServiceFailed, exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.election import Election
    from locum.coordination.term import Term
    from locum.service import Restarting, Surroundings

__all__ = ["ActivePassiveRunner", "ActivePassiveService", "Standby"]

_log = logger("services.active_passive")


class Standby(Context):
    """What the passive body is given: it ends when the instance becomes active, or stops."""


class ActivePassiveService(ServiceHooks):
    """Runs on every server, works on one."""

    def run_active(self, term: Any) -> Awaitable[None] | None:
        """The work, on the one active instance; cancelled when the term ends.

        A return keeps the term, as *completed*; an error gives it up, and another instance takes over.

        Args:
            term: A `Term`; a `locum.blocking.Term`, in a thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override run_active(self, term)")

    def run_passive(self, standby: Any) -> Awaitable[None] | None:
        """What to do while another instance is active, such as keeping caches warm; optional.

        Args:
            standby: A `Standby`; a `locum.blocking.Standby`, in a thread, where it is overridden by a plain `def`.
        """
        del standby
        return None


class ActivePassiveRunner(Supervised):
    """Runs an active-passive service: stands in line, works when it is its turn, gives the term up, and again.

    Args:
        name: The service's name.
        active: Its body, called with a `Term`.
        passive: What it does while another is active, called with a `Standby`; `None` for nothing.
        hooks: Its hooks; `None` for a function.
        election: Decides who works.
        surroundings: Its host.
        restarts: Judges whether and when it stands in line again after an error.
        stop_timeout: Seconds a planned end may take.
        says_ready: Whether a body says when it is ready, the passive one or the active one.
    """

    def __init__(
        self,
        name: str,
        active: Callable[..., object],
        passive: Callable[..., object] | None,
        hooks: ServiceHooks | None,
        *,
        election: Election,
        surroundings: Surroundings,
        restarts: Restarting,
        stop_timeout: float,
        says_ready: bool = False,
    ) -> None:
        super().__init__(
            name,
            hooks,
            surroundings=surroundings,
            restarts=restarts,
            stop_timeout=stop_timeout,
            says_ready=says_ready,
        )
        self._active, self._passive, self._election = active, passive, election
        self._scope = Scope(name, on_error=self._on_error)
        self._term: Term | None = None
        self._body: Body | None = None
        self._worked = 0.0
        self._stop_why: str | None = None
        self._stop_limit = stop_timeout
        self._asked_to_stop = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Start it and stand in line."""
        await self._begin()
        self._work = self._scope.spawn(self._stand_by_and_work(), name="standing in line")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """End the term as planned, if there is one, and leave the line."""
        self._surroundings.show(self.name, Mode.STOPPING)
        self._stop_why = why
        self._stop_limit = self.stop_timeout if within is None else within
        self._asked_to_stop.set()
        if self._work is None:
            return
        if self._term is not None:
            self._term.ask_to_resign(why)
            await asyncio.wait([self._work])
        else:
            await cancel_and_wait(self._work)
        if self._work.cancelled():
            return
        error = self._work.exception()
        if isinstance(error, StopTimeoutError):
            raise error

    def hurry(self) -> None:
        """Cancel the active body now, if it is ending by itself."""
        if self._body is not None:
            self._body.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._scope.close()
        await self._close_hooks()

    async def _stand_by_and_work(self) -> None:
        while self._stop_why is None:
            self._worked = 0.0
            error = await self._one_turn()
            if error is None:
                self._restarts.reset()
                continue
            delay = self._judge(error, ran=self._worked)
            if delay is None:
                return
            await self._surroundings.clock.sleep(delay)

    async def _one_turn(self) -> BaseException | None:
        """Stand by until the term is ours, and work; what the body failed with."""
        term = await self._stand_in_line()
        try:
            return await self._hold(term)
        finally:
            self._term = self._body = None

    async def _stand_in_line(self) -> Term:
        """Stand by until the term is ours."""
        while True:
            self._surroundings.show(self.name, Mode.PASSIVE)
            standby = self._stand_by()
            try:
                # known from the first moment on: a stop that comes now must give it up, not forget it
                term = self._term = await self._election.win()
            except Exception as error:  # a registered database that is held or broken is no fault of the service's
                failure = error
            else:
                return term
            finally:
                if standby is not None:
                    await self._end_standby(*standby)
            delay = self._restarts.pause()
            self._tell(failure, delay)
            self._surroundings.show(self.name, Mode.BACKOFF)
            await self._surroundings.clock.sleep(delay)

    def _stand_by(self) -> tuple[Standby, Body] | None:
        if self._passive is None:
            self._has_begun(None)
            return None
        context = Standby(self.name, clock=self._surroundings.clock)
        standby = context, Body(self.name, self._keep_warm(self._passive, context), scope=self._scope)
        self._has_begun(context)
        return standby

    async def _keep_warm(self, passive: Callable[..., object], context: Standby) -> None:
        """The passive body, again after a pause if it fails: whether it does is nothing to the place in line."""
        while not context.is_asked:
            try:
                await self._surroundings.call(passive, context)
                return
            except Exception as error:
                if context.is_asked:
                    raise
                delay = self._restarts.pause()
                _log.error("%s failed in its passive body", self.name, exc_info=exc_info_of(error))
                self._surroundings.tell(
                    ServiceFailed(instance=self._surroundings.instance, service=self.name, error=error, retry_in=delay)
                )
                await context.sleep(delay)

    async def _end_standby(self, context: Standby, body: Body) -> None:
        """Asked, cancelled, awaited: only then is there an active body. One that ignores this must not hold it up."""
        context.ask_to_stop(within=self.stop_timeout)
        try:
            await body.end(timeout=self.stop_timeout)
        except StopTimeoutError as error:
            self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
            if self._term is not None:  # no active body has begun: let another instance have it
                await self._election.resign(self._term, str(error))
                self._term = None
            raise
        if body.error is not None:
            _log.error("%s failed while its passive body ended", self.name, exc_info=exc_info_of(body.error))

    async def _hold(self, term: Term) -> BaseException | None:
        """Work under a term until it is over, and give it up (or abandon it)."""
        self._surroundings.show(self.name, Mode.ACTIVE, term.token)
        begun = self._surroundings.clock.now()
        body = self._body = Body(self.name, self._surroundings.call(self._active, term), scope=self._scope)
        self._has_begun(term)
        over = self._scope.spawn(term.over(), name="end of the term")
        await asyncio.wait([body.task, over], return_when=asyncio.FIRST_COMPLETED)
        self._worked = seconds(self._surroundings.clock.now() - begun)
        worked = True
        if body.task.done() and not over.done() and body.error is None and not body.task.cancelled():
            worked = False
            self._surroundings.show(self.name, Mode.COMPLETED, term.token)
            self._election.rest(term)
            await asyncio.wait([over])
        over.cancel()
        if term.is_lost:
            await self._end_lost(term, body, worked=worked)
            return None
        error = body.error
        if body.task.cancelled() and not over.done():
            error = RuntimeError("the body was cancelled, and not by Locum")
        why = (
            f"raised {type(error).__name__}: {error}"
            if error is not None
            else (self._stop_why or term.wish or "resigned")
        )
        await self._end_planned(term, body, why)
        return error

    async def _end_planned(self, term: Term, body: Body, why: str) -> None:
        """Asked, not current any more, cancelled, awaited; only then released.

        What listens has time to end by itself before that; so what it is in the middle of is still accepted.
        """
        limit = self._stop_limit
        term.ask_to_stop(within=limit)
        grace = grace_of(limit) if term.listens and not body.task.done() else 0.0
        if grace:
            forget = term.lease.on_end(lambda _: body.hurry())
            term.when_going_on(body.hurry)
            await body.ends_by_itself(within=grace)
            forget()
            if term.is_lost:
                await self._end_lost(term, body, worked=True)
                return
        term.end(why)
        try:
            await body.end(timeout=limit - grace)
        except StopTimeoutError:
            await self._outlast(term, body, StopTimeoutError(self.name, limit))
            return
        if body.error is not None and not why.startswith("raised"):
            _log.error("%s failed while it ended", self.name, exc_info=exc_info_of(body.error))
        await self._election.resign(term, why)

    async def _end_lost(self, term: Term, body: Body, *, worked: bool) -> None:
        """The body is ended; if it had not completed, the process ends with it: nobody knows what it left running."""
        why = term.ended or "lost its lease"
        _log.warning("%s: %s %s; its work is cancelled.", self.name, term.instance, why)
        try:
            # a keeper kills what ignores this, unless beats are answered again before 80 %
            await body.end(timeout=min(self.stop_timeout, seconds(term.lease.budget.ttl)))
        except StopTimeoutError as error:
            await self._outlast(term, body, error)
            return
        self._election.abandon(term)
        if worked:
            self._surroundings.fail(f"{self.name}: {why}", exit_codes.FENCED)

    async def _outlast(self, term: Term, body: Body, error: StopTimeoutError) -> None:
        """What would not end ends with its process; where that goes on, it counts as ended (R19).

        This instance is no candidate then until it has.
        """
        self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
        if self._stop_why is not None:
            raise error
        self._election.give_up(term, str(error))
        _log.error("%s still runs, though its term is over and its writes are refused.", self.name)
        self._surroundings.show(self.name, Mode.STUCK)
        asked = self._scope.spawn(self._asked_to_stop.wait(), name="stop")
        await asyncio.wait([body.task, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not body.task.done():
            raise error
        _log.warning("%s has ended at last.", self.name)

    def _on_error(self, task: str, error: BaseException) -> None:
        if not isinstance(error, StopTimeoutError):
            _log.error("%s failed", task, exc_info=error)
            self._surroundings.fail(f"{task} failed: {error}", exit_codes.SERVICE_FAILED)
