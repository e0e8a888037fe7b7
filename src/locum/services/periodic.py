"""Services that do something every so many seconds.

The turns lie on a grid that begins with the run: what a turn takes moves none of those after it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable  # in a signature that is read when the program runs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from locum.clock import nanoseconds, seconds
from locum.context import Context
from locum.errors import ConfigurationError
from locum.service import ServiceHooks
from locum.services.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.service import Surroundings

__all__ = ["Overlap", "Periodic", "PeriodicService", "Rhythm", "next_turn"]

Overlap = Literal["coalesce", "skip", "overlap"]
_OVERLAPS: Final = ("coalesce", "skip", "overlap")


class PeriodicService(ServiceHooks):
    """Does something every so many seconds: on every instance, or on the active one (`active_passive=True` in `add`).

    Attributes:
        every: Seconds from one turn to the next.
        jitter: Seconds that a turn may come late, by chance, so that instances do not all come at once.
        overlap: What becomes of turns that are due while one still runs: see `Rhythm`.
        most: How many may run at once with `overlap`.
        limit: Seconds that a turn may take; `None` for as long as it wants.
    """

    every: ClassVar[float]
    jitter: ClassVar[float] = 0.0
    overlap: ClassVar[Overlap] = "coalesce"
    most: ClassVar[int] = 10
    limit: ClassVar[float | None] = None

    def tick(self, context: Any) -> Awaitable[None] | None:
        """One turn. An error ends the run, and by `restart` another one begins after a pause.

        Args:
            context: A `Stopping`, or the `Term` under which this instance is active; those of `locum.blocking`, in a
                thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override tick(self, context)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When the turns come.

    Attributes:
        every: Seconds from one turn to the next.
        jitter: Seconds that a turn may come late, by chance; the grid stays where it is.
        overlap: What becomes of turns that are due while one still runs. `coalesce`: all of them together are one, at
            once after it. `skip`: they are left out, and the next one comes when its time has come. `overlap`: they run
            beside it, up to `most`.
        most: How many may run at once with `overlap`.
        limit: Seconds that a turn may take: it is cancelled then, and the run has failed. `None` for no limit.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    every: float
    jitter: float = 0.0
    overlap: Overlap = "coalesce"
    most: int = 10
    limit: float | None = None

    def __post_init__(self) -> None:
        """See that it can be."""
        if not 0 < self.every < float("inf"):
            raise ConfigurationError(f"every={self.every!r} must be more than 0 seconds")
        if not 0 <= self.jitter < self.every:
            raise ConfigurationError(f"jitter={self.jitter!r} must be at least 0 and less than every={self.every!r}")
        if self.overlap not in _OVERLAPS:
            raise ConfigurationError(f"overlap={self.overlap!r} is not known: it is one of {', '.join(_OVERLAPS)}")
        if self.most < 1:
            raise ConfigurationError(f"most={self.most!r}: at least one turn must be able to run")
        if self.limit is not None and not self.limit > 0:
            raise ConfigurationError(f"limit={self.limit!r} must be more than 0 seconds, or None")


def next_turn(turn: int, elapsed: int, step: int, *, skip: bool) -> int:
    """The number of the turn after this one.

    Args:
        turn: The one that has just ended.
        elapsed: Nanoseconds from the grid's beginning until now.
        step: Nanoseconds from one turn to the next.
        skip: Leave out what is due already; otherwise the last of that comes at once.
    """
    due = elapsed // step
    return max(turn, due) + 1 if skip else max(turn + 1, due)


class Periodic:
    """The body of a periodic service.

    Args:
        name: The service's name.
        tick: What is done each time, called with the body's context.
        rhythm: When.
        surroundings: Its host.
    """

    def __init__(self, name: str, tick: Callable[..., object], rhythm: Rhythm, *, surroundings: Surroundings) -> None:
        self._name, self._tick, self._rhythm, self._surroundings = name, tick, rhythm, surroundings

    async def run(self, context: Context) -> None:
        """Do it turn by turn, until it is asked to end; the turn that runs then ends by itself."""
        self._begun = self._surroundings.clock.now()
        await (self._side_by_side(context) if self._rhythm.overlap == "overlap" else self._one_by_one(context))

    async def _one_by_one(self, context: Context) -> None:
        step, skip, turn = nanoseconds(self._rhythm.every), self._rhythm.overlap == "skip", 0
        async with self._surroundings.one_run() as call:
            while True:
                await context.sleep(self._pause_before(turn))
                if context.stopping:
                    return
                await self._turn(call, context)
                turn = next_turn(turn, self._surroundings.clock.now() - self._begun, step, skip=skip)

    async def _side_by_side(self, context: Context) -> None:
        turn = 0
        async with Slots(self._name, self._rhythm.most, surroundings=self._surroundings) as slots:
            while True:
                await slots.watched(context.sleep(self._pause_before(turn)))
                if context.stopping:
                    break
                if not slots.are_full:  # otherwise this turn is left out
                    await slots.begin(lambda call: self._turn(call, context))
                turn += 1
            await slots.all_ended()

    def _pause_before(self, turn: int) -> float:
        late = random.uniform(0.0, self._rhythm.jitter)  # noqa: S311 - spreads load, hides nothing
        at = self._begun + turn * nanoseconds(self._rhythm.every)
        return seconds(at - self._surroundings.clock.now()) + late

    async def _turn(self, call: Callable[..., Awaitable[object]], context: Context) -> None:
        limit = asyncio.timeout(self._rhythm.limit)
        try:
            async with limit:
                await call(self._tick, context)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"a turn of {self._name} took longer than its limit of {self._rhythm.limit:g} s"
            ) from None
