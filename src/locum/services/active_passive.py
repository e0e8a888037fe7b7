"""Services that run on every instance and work on one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable  # in signatures that are read when the program runs
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from locum import exit_codes
from locum.context import Context
from locum.coordination.hold import Hold
from locum.errors import StopTimeoutError
from locum.scopes import cancel_and_wait
from locum.service import Mode, ServiceHooks
from locum.services.bodies import Body
from locum.services.supervised import Supervised
from locum.services.terms import Duty, Source, Terms
from locum.telemetry import ServiceFailed, exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.service import Restarting, Surroundings
    from locum.services.terms import Outcome

__all__ = ["ActivePassiveRunner", "ActivePassiveService", "Standby"]

_log = logger("services.active_passive")
T = TypeVar("T", bound=Hold)


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


class Contested(Source[T], Protocol[T]):
    """What an instance stands in line for: an election, or one of so many permits."""

    async def win(self) -> T:
        """Wait for it."""


class ActivePassiveRunner(Supervised, Generic[T]):
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
        before_asked: Called before the active body is asked to end, with the seconds that this may take.
    """

    def __init__(
        self,
        name: str,
        active: Callable[..., object],
        passive: Callable[..., object] | None,
        hooks: ServiceHooks | None,
        *,
        election: Contested[T],
        surroundings: Surroundings,
        restarts: Restarting,
        stop_timeout: float,
        says_ready: bool = False,
        before_asked: Callable[[float], Awaitable[None]] | None = None,
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
        self._before_asked = before_asked
        self._terms = Terms(name, surroundings=surroundings, stop_timeout=stop_timeout)
        self._term: T | None = None
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and stand in line."""
        await self._begin()
        self._work = self._terms.scope.spawn(self._stand_by_and_work(), name="standing in line")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """End the term as planned, if there is one, and leave the line."""
        self._surroundings.show(self.name, Mode.STOPPING)
        self._terms.ask_to_stop(within=self.stop_timeout if within is None else within)
        if self._work is None:
            return
        if self._term is not None:
            self._term.ask_to_resign(why)
        else:
            await cancel_and_wait(self._work)
        await self._terms.ended([self._work])

    def hurry(self) -> None:
        """Cancel the active body now, if it is ending by itself."""
        self._terms.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._terms.scope.close()
        await self._close_hooks()

    async def _stand_by_and_work(self) -> None:
        while True:
            outcome = await self._one_turn()
            if outcome.error is None:
                self._restarts.reset()
            elif self._terms.is_stopping:
                self._tell(outcome.error, None)  # there is no next run to judge about
            else:
                delay = self._judge(outcome.error, ran=outcome.ran)
                if delay is None:
                    return
                await self._terms.pause(delay)
            if self._terms.is_stopping:
                return

    async def _one_turn(self) -> Outcome:
        """Stand by until the term is ours, and work."""
        term = await self._stand_in_line()
        token = getattr(term, "token", None)  # one of several permits has none
        self._surroundings.show(self.name, Mode.ACTIVE, token)
        self._has_begun(term)
        try:
            return await self._terms.work(
                Duty(
                    term=term,
                    source=self._election,
                    work=self._active,
                    what=self.name,
                    before_asked=self._before_asked,
                    on_rest=lambda: self._surroundings.show(self.name, Mode.COMPLETED, token),
                )
            )
        finally:
            self._term = None

    async def _stand_in_line(self) -> T:
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
        standby = context, Body(self.name, self._keep_warm(self._passive, context), scope=self._terms.scope)
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
