"""Services that run on every instance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable  # in a signature that is read when the program runs
from typing import TYPE_CHECKING, Any

from locum import exit_codes
from locum.clock import seconds
from locum.errors import StopTimeoutError
from locum.scopes import Scope
from locum.service import Mode, ServiceHooks, Stopping, grace_of
from locum.services.bodies import Body
from locum.services.supervised import Supervised
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.service import Restarting, Surroundings

__all__ = ["BackgroundRunner", "BackgroundService"]

_log = logger("services.background")


class BackgroundService(ServiceHooks):
    """Runs on every instance, from the host's start to its stop."""

    def run(self, stopping: Any) -> Awaitable[None] | None:
        """The work. A return means that it is completed; an error runs it again after a backoff.

        Args:
            stopping: A `Stopping`; a `locum.blocking.Stopping`, in a thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override run(self, stopping)")


class BackgroundRunner(Supervised):
    """Runs a background service.

    Args:
        name: The service's name.
        body: Its body, called with a `Stopping`.
        hooks: Its hooks; `None` for a function.
        surroundings: Its host.
        restarts: Judges whether and when it is run again.
        stop_timeout: Seconds it may take to stop.
        says_ready: Whether its body says when it is ready; otherwise it is once it has begun.
        before_asked: Called before the body is asked to end, with the seconds that it may take for that.
    """

    def __init__(
        self,
        name: str,
        body: Callable[..., object],
        hooks: ServiceHooks | None,
        *,
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
        self._body, self._before_asked = body, before_asked
        self._scope = Scope(name, on_error=self._on_error)
        self._stopping = Stopping(name, clock=surroundings.clock)
        self._asked = asyncio.Event()
        self._running: Body | None = None
        self._supervision: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Start it and begin to supervise its body."""
        await self._begin()
        self._supervision = self._scope.spawn(self._supervise(), name="supervision")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """Ask the body to end, cancel it if it does not, and wait until it has ended."""
        self._surroundings.show(self.name, Mode.STOPPING)
        limit = self.stop_timeout if within is None else within
        self._asked.set()
        if self._before_asked is not None:
            limit -= await self._timed(self._before_asked(limit / 2))
        self._stopping.ask_to_stop(within=limit)
        body = self._running
        if body is None:
            return
        # what has never looked cannot know that it was asked: waiting for it would be waiting for nothing
        grace = grace_of(limit) if self._stopping.listens else 0.0
        self._stopping.when_going_on(body.hurry)
        if grace and await body.ends_by_itself(within=grace):
            return
        try:
            await body.end(timeout=limit - grace)
        except StopTimeoutError:
            error = StopTimeoutError(self.name, limit)
            self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
            raise error from None

    async def _timed(self, work: Awaitable[None]) -> float:
        begun = self._surroundings.clock.now()
        await work
        return seconds(self._surroundings.clock.now() - begun)

    def hurry(self) -> None:
        """Cancel the body now, if it is ending by itself."""
        if self._running is not None:
            self._running.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._scope.close()
        await self._close_hooks()

    async def _supervise(self) -> None:
        clock = self._surroundings.clock
        while not self._asked.is_set():
            begun = clock.now()
            self._surroundings.show(self.name, Mode.RUNNING)
            self._running = Body(self.name, self._surroundings.call(self._body, self._stopping), scope=self._scope)
            self._has_begun(self._stopping)
            await self._running.ended()
            error = self._running.error
            if self._asked.is_set():
                if error is not None:
                    _log.error("%s failed while it stopped", self.name, exc_info=exc_info_of(error))
                return
            if self._running.task.cancelled():
                error = RuntimeError("the body was cancelled, and not by Locum")
            delay = self._judge(error, ran=seconds(clock.now() - begun))
            if delay is None:
                return
            await self._stopping.sleep(delay)

    def _on_error(self, task: str, error: BaseException) -> None:
        _log.error("%s failed", task, exc_info=error)
