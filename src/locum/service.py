"""The life-cycle contract: what a service goes through, whatever its kind.

A service is started, runs, is asked to stop, and is closed. The kinds, in `locum.services`, say what running means.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from locum.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.telemetry import Event

__all__ = ["Mode", "Runner", "ServiceHooks", "Stopping", "Surroundings"]


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
    STOPPING = "stopping"
    STOPPED = "stopped"
    STUCK = "still running"


class ServiceHooks:
    """What every service written as a class may override."""

    async def start(self) -> None:
        """Make ready; an error fails the start of the host, and what was started before is stopped again."""

    async def close(self) -> None:
        """Let go of what `start` took; called once, after the last body has ended."""


class Runner(Protocol):
    """One service in the hands of a host."""

    name: str
    stop_timeout: float

    async def start(self) -> None:
        """Start it; an error fails the host's start."""

    async def stop(self, why: str) -> None:
        """Ask it to end, and wait until it has.

        Raises:
            StopTimeoutError: It has not, within its `stop_timeout`.
        """

    async def close(self) -> None:
        """Let go of everything; called once after `stop`, also if that failed."""


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

    def fail(self, why: str, code: int) -> None:
        """End this process: something overlaps, or cannot be ended otherwise.

        Returns only where it goes on: if the host stops anyway, or inside a process that is not Locum's.
        """

    async def call(self, function: Callable[..., object], *given: object) -> object:
        """Call a body with what it asks for by type: the given objects, and collaborators.

        A plain function is called in a thread of its own; this ends only when the thread has ended the call.
        """
