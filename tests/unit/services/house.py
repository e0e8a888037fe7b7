"""A small house for runners: it notes what it is told, and calls bodies as they are, plain ones in threads."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from locum.clock import Clock
from locum.host.container import Container
from locum.host.plain import is_plain
from locum.host.restart import Restart, Restarts
from tests.unit.kit import LONG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from locum.service import Mode
    from locum.telemetry import Event


class GatedClock(Clock):
    """Whoever sleeps by it is woken by the test.

    Attributes:
        slept: The pauses that were asked for.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._gate, self._asleep = asyncio.Event(), asyncio.Event()

    async def sleeper(self) -> None:
        """Wait until somebody sleeps."""
        async with asyncio.timeout(LONG):
            await self._asleep.wait()

    def wake(self) -> None:
        """Wake whoever sleeps."""
        self._gate.set()
        self._gate, self._asleep = asyncio.Event(), asyncio.Event()

    async def sleep(self, duration: float) -> None:
        self.slept.append(duration)
        self._asleep.set()
        await self._gate.wait()


def restarting(house: House, name: str, policy: Restart | None = None) -> Restarts:
    """What judges the ends of a service's runs, with pauses that no test need wait for."""
    return Restarts(name, policy or Restart(), clock=house.clock)


class House:
    """The surroundings of a runner."""

    def __init__(self, instance: str = "web-1") -> None:
        self.instance = instance
        self.clock = GatedClock()
        self.events: list[Event] = []
        self.shown: list[tuple[Mode, int | None]] = []
        self.failures: list[tuple[str, int]] = []
        self.overs: list[BaseException | None] = []
        self.warnings: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        self.shown.append((mode, token))
        self._changed.set()

    def warn(self, service: str, of: str) -> None:
        self.warnings.append((service, of))

    def over(self, service: str, error: BaseException | None) -> None:
        self.overs.append(error)
        self._changed.set()

    def fail(self, why: str, code: int) -> None:
        self.failures.append((why, code))
        self._changed.set()

    async def call(self, function: Callable[..., Any], *given: object) -> object:
        if inspect.isroutine(function) and is_plain(function):
            return await Container().call(function, *given)
        return await function(*given)

    def one_run(self) -> AbstractAsyncContextManager[Callable[..., Awaitable[object]]]:
        return Container().run()

    @property
    def modes(self) -> list[Mode]:
        return [mode for mode, _ in self.shown]

    async def sees(self, condition: Callable[[], object]) -> None:
        """Wait until something that was told makes this true."""
        async with asyncio.timeout(LONG):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def shows(self, mode: Mode, *, times: int = 1) -> None:
        """Wait until a mode was shown so often."""
        await self.sees(lambda: self.modes.count(mode) >= times)
