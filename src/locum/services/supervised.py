"""What the runners of all kinds have in common: their hooks, whether they are ready, and what an end of a run means."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.errors import CrashLoopError
from locum.service import Mode
from locum.telemetry import ServiceFailed, exc_info_of, logger

if TYPE_CHECKING:
    from locum.context import Context
    from locum.service import Restarting, ServiceHooks, Surroundings

__all__ = ["Supervised"]

_log = logger("services")


class Supervised:
    """A service in the hands of a host.

    Args:
        name: The service's name.
        hooks: Its hooks; `None` for a function.
        surroundings: Its host.
        restarts: Judges whether and when it is run again.
        stop_timeout: Seconds it may take to stop.
        says_ready: Whether its body says when it is ready; otherwise it is once it has begun.
    """

    def __init__(
        self,
        name: str,
        hooks: ServiceHooks | None,
        *,
        surroundings: Surroundings,
        restarts: Restarting,
        stop_timeout: float,
        says_ready: bool = False,
    ) -> None:
        self.name, self.hooks, self.stop_timeout = name, hooks, stop_timeout
        self._surroundings, self._restarts = surroundings, restarts
        self._says_ready = says_ready
        self._ready = asyncio.Event()
        self._gave_up: BaseException | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it does what it is there for."""
        return self._ready.is_set() and self._gave_up is None

    async def until_ready(self) -> None:
        """Wait until it does what it is there for, or has completed.

        Raises:
            BaseException: What it failed with, if it is not run again.
        """
        await self._ready.wait()
        if self._gave_up is not None:
            raise self._gave_up

    async def _begin(self) -> None:
        self._surroundings.show(self.name, Mode.STARTING)
        if self.hooks is not None:
            await self.hooks.start()

    def _has_begun(self, context: Context | None) -> None:
        """A body begins with this; without one there is nothing that could say that it is ready."""
        if context is not None and self._says_ready:
            context.when_ready(self._ready.set)
        else:
            self._ready.set()

    def _judge(self, error: BaseException | None, *, ran: float) -> float | None:
        """Tell of the end of a run, and what comes of it: seconds until the next one, or `None` if there is none."""
        try:
            delay = self._restarts.after(error, ran=ran)
        except CrashLoopError as crash:
            self._tell(error, None)
            self._give_up(crash)
            return None
        self._tell(error, delay)
        if delay is None:
            self._give_up(error)
        else:
            self._surroundings.show(self.name, Mode.BACKOFF)
        return delay

    def _give_up(self, error: BaseException | None) -> None:
        """It is not run again: whoever waits for it to be ready learns that too."""
        self._gave_up = error
        self._surroundings.show(self.name, Mode.COMPLETED if error is None else Mode.FAILED)
        self._ready.set()
        self._surroundings.over(self.name, error)

    def _tell(self, error: BaseException | None, delay: float | None) -> None:
        if error is not None:
            _log.error("%s failed", self.name, exc_info=exc_info_of(error))
            self._surroundings.tell(
                ServiceFailed(instance=self._surroundings.instance, service=self.name, error=error, retry_in=delay)
            )

    async def _close_hooks(self) -> None:
        if self.hooks is not None:
            await self.hooks.close()
        self._surroundings.show(self.name, Mode.STOPPED)
