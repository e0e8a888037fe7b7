"""Services that run on every instance."""

from __future__ import annotations

from collections.abc import Awaitable  # in a signature that is read when the program runs
from typing import TYPE_CHECKING, Any

from locum import exit_codes
from locum.clock import seconds
from locum.errors import StopTimeoutError
from locum.scopes import Backoff, Scope
from locum.service import Mode, ServiceHooks, Stopping
from locum.services.bodies import Body
from locum.telemetry import ServiceFailed, logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from locum.service import Surroundings

__all__ = ["BackgroundRunner", "BackgroundService"]

_log = logger("services.background")
_HEALTHY_AFTER = 10.0


class BackgroundService(ServiceHooks):
    """Runs on every instance, from the host's start to its stop."""

    def run(self, stopping: Any) -> Awaitable[None] | None:
        """The work. A return means that it is completed; an error runs it again after a backoff.

        Args:
            stopping: A `Stopping`; a `locum.blocking.Stopping`, in a thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override run(self, stopping)")


class BackgroundRunner:
    """Runs a background service.

    Args:
        name: The service's name.
        body: Its body, called with a `Stopping`.
        hooks: Its start and close; `None` for a function.
        surroundings: Its host.
        stop_timeout: Seconds it may take to stop.
    """

    def __init__(
        self,
        name: str,
        body: Callable[..., object],
        hooks: ServiceHooks | None,
        *,
        surroundings: Surroundings,
        stop_timeout: float,
    ) -> None:
        self.name, self.stop_timeout = name, stop_timeout
        self._body, self._hooks, self._surroundings = body, hooks, surroundings
        self._scope = Scope(name, on_error=self._on_error)
        self._stopping = Stopping(name, clock=surroundings.clock)
        self._running: Body | None = None
        self._supervision: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Start it and begin to supervise its body."""
        self._surroundings.show(self.name, Mode.STARTING)
        if self._hooks is not None:
            await self._hooks.start()
        self._supervision = self._scope.spawn(self._supervise(), name="supervision")

    async def stop(self, why: str) -> None:
        """Ask the body to end, cancel it, and wait until it has ended."""
        self._surroundings.show(self.name, Mode.STOPPING)
        self._stopping.ask_to_stop(within=self.stop_timeout)
        if self._running is None:
            return
        try:
            await self._running.end(timeout=self.stop_timeout)
        except StopTimeoutError as error:
            self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
            raise

    async def close(self) -> None:
        """Close the service."""
        await self._scope.close()
        if self._hooks is not None:
            await self._hooks.close()
        self._surroundings.show(self.name, Mode.STOPPED)

    async def _supervise(self) -> None:
        backoff = Backoff(0.1, 30.0)
        clock = self._surroundings.clock
        while not self._asked_to_stop():
            begun = clock.now()
            self._surroundings.show(self.name, Mode.RUNNING)
            self._running = Body(self.name, self._surroundings.call(self._body, self._stopping), scope=self._scope)
            await self._running.ended()
            error = self._running.error
            if self._asked_to_stop():
                if error is not None:
                    _log.error("%s failed while it stopped", self.name, exc_info=error)
                return
            if error is None:
                self._surroundings.show(self.name, Mode.COMPLETED)
                return
            if seconds(clock.now() - begun) > _HEALTHY_AFTER:
                backoff.reset()
            delay = backoff.delay()
            _log.error("%s failed", self.name, exc_info=error)
            self._surroundings.show(self.name, Mode.BACKOFF)
            self._surroundings.tell(
                ServiceFailed(instance=self._surroundings.instance, service=self.name, error=error, retry_in=delay)
            )
            await self._stopping.sleep(delay)

    def _asked_to_stop(self) -> bool:
        return self._stopping.stopping

    def _on_error(self, task: str, error: BaseException) -> None:
        _log.error("%s failed", task, exc_info=error)
