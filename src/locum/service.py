"""The life-cycle contract: what a service goes through, whatever its kind.

A service is started, runs, is asked to stop, and is closed. The kinds, in `locum.services`, say what running means.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from locum.context import Context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from locum.clock import Clock
    from locum.telemetry import Event

__all__ = ["Mode", "Restarting", "Runner", "ServiceHooks", "Stopping", "Surroundings", "grace_of"]

_GRACE: Final = 0.8


class Stopping(Context):
    """What the body of a service that runs everywhere is given: how to pause, and whether it shall end."""


class Mode(enum.Enum):
    """What a service does at the moment, for people to see."""

    STARTING = "starting"
    RUNNING = "running"
    PASSIVE = "passive"
    ACTIVE = "active"
    COMPLETED = "completed"
    BACKOFF = "backoff"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STUCK = "still running"


class ServiceHooks:
    """What every service written as a class may override: one for each phase of its host.

    A phase is over when all services have been through it, and only then the next one begins. `starting`, `start` and
    `started` go in the order of `after`, `stopping`, `stop` and `close` in reverse, whatever the stop was caused by.

    Attributes:
        comes_last: Whether it comes `after` all services that do not say so themselves.
    """

    comes_last: ClassVar[bool] = False

    async def starting(self) -> None:
        """Before any service of the host is started."""

    async def start(self) -> None:
        """Make ready; an error fails the start of the host, and what was started before is stopped again."""

    async def started(self) -> None:
        """All services of the host are started, and ready; an error still fails the start."""

    async def stopping(self) -> None:
        """The host is about to stop; all services run still, also through its `drain_delay`."""

    async def stop(self) -> None:
        """This service's body has ended; those that it comes `after` run still."""

    async def close(self) -> None:
        """Let go of what `start` took, also if that failed; called once, after the last body of the host has ended."""


class Runner(Protocol):
    """One service in the hands of a host."""

    name: str
    hooks: ServiceHooks | None

    async def start(self) -> None:
        """Start it; an error fails the host's start."""

    async def until_ready(self) -> None:
        """Wait until it does what it is there for."""

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """Ask it to end, and wait until it has.

        Args:
            why: The reason, in words that follow the instance's name.
            within: Seconds that it may take; its `stop_timeout` if none are given.

        Raises:
            StopTimeoutError: It has not, within that time.
        """

    def hurry(self) -> None:
        """Cancel it now, if it is ending by itself; no time is left."""

    async def close(self) -> None:
        """Let go of everything; called once after `stop`, also if that failed."""


class Restarting(Protocol):
    """Judges whether and when a service is run again: see `locum.host.restart`."""

    def after(self, error: BaseException | None, *, ran: float) -> float | None:
        """Seconds until it is run again after a run that ended by itself; `None` for never.

        Raises:
            CrashLoopError: It would be once too often.
        """

    def pause(self) -> float:
        """Seconds to wait after something that does not count."""

    def reset(self) -> None:
        """It went well."""


class Surroundings(Protocol):
    """What a runner may ask of its host."""

    @property
    def instance(self) -> str:
        """The instance's name."""

    @property
    def clock(self) -> Clock:
        """Measures pauses."""

    def tell(self, event: Event) -> None:
        """Tell an event."""

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """Show what a service does now."""

    def warn(self, service: str, of: str) -> None:
        """Something that people should know of a service that works; nothing (empty) once that is over."""

    def over(self, service: str, error: BaseException | None) -> None:
        """A service is not run again: it is completed (no error), failed, or in a crash loop (`CrashLoopError`)."""

    def fail(self, why: str, code: int) -> None:
        """End this process: something overlaps, or cannot be ended otherwise.

        Returns only where it goes on: if the host stops anyway, or inside a process that is not Locum's.
        """

    async def call(self, function: Callable[..., object], *given: object) -> object:
        """Call a body with what it asks for by type: the given objects, and collaborators.

        A plain function is called in a thread of its own; this ends only when the thread has ended the call.
        """

    def one_run(self) -> AbstractAsyncContextManager[Callable[..., Awaitable[object]]]:
        """One run, in which functions are called as by `call`, one after another, each with a fresh tick."""


def grace_of(limit: float) -> float:
    """Of the seconds that a stop may take: how many a body that listens has to end by itself before it is cancelled."""
    return _GRACE * limit
