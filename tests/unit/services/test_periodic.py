"""Services that do something every so many seconds: the grid, late turns, jitter, limits, and the end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum import blocking
from locum.clock import NANOSECONDS
from locum.errors import ConfigurationError
from locum.service import Stopping
from locum.services.periodic import Periodic, PeriodicService, Rhythm, next_turn
from tests.unit.kit import ManualClock, soon, turns
from tests.unit.services.house import House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

STEP = NANOSECONDS


@given(st.integers(0, 1000), st.integers(0, 10**13), st.booleans())
def test_the_next_turn_lies_on_the_grid_and_never_comes_twice(turn: int, late: int, skip: bool) -> None:
    elapsed = turn * STEP + late
    following = next_turn(turn, elapsed, STEP, skip=skip)
    assert following > turn
    if skip:
        assert following * STEP > elapsed, "what is due already is left out"
        assert (following - 1) * STEP <= elapsed, "and nothing else"
    else:
        assert following == turn + 1 or following * STEP <= elapsed < (following + 1) * STEP


class House2(House):
    """A house on a clock of the test's own, in which a pause takes no time and is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()  # type: ignore[assignment]


class Paused(Stopping):
    """A context whose pauses go by at once on its clock."""

    def __init__(self, clock: ManualClock, turns: int) -> None:
        super().__init__("metrics", clock=clock)
        self.pauses: list[float] = []
        self._manual, self._turns = clock, turns

    async def sleep(self, duration: float) -> None:
        self.pauses.append(duration)
        self._manual.pass_by(max(0.0, duration))
        await asyncio.sleep(0)
        if len(self.pauses) > self._turns:
            self.ask_to_stop(within=1.0)


async def instants(rhythm: Rhythm, takes: list[float], *, turns: int) -> list[float]:
    """At what time each turn begins, in seconds from the first, if they take so long on the house's clock."""
    house = House2()
    clock: Any = house.clock
    began: list[float] = []
    origin = clock.now()

    async def tick(context: Stopping) -> None:
        began.append((clock.now() - origin) / NANOSECONDS)
        if takes:
            clock.pass_by(takes.pop(0))

    context = Paused(clock, turns)
    await soon(Periodic("metrics", tick, rhythm, surroundings=house).run(context))
    return began


async def test_what_a_turn_takes_moves_none_after_it() -> None:
    assert await instants(Rhythm(every=1.0), [0.3, 0.9, 0.0, 0.5], turns=5) == [0, 1, 2, 3, 4]


async def test_turns_that_were_due_meanwhile_are_one_at_once_or_left_out() -> None:
    assert await instants(Rhythm(every=1.0), [0.0, 3.5], turns=5) == [0, 1, 4.5, 5, 6]
    assert await instants(Rhythm(every=1.0, overlap="skip"), [0.0, 3.5], turns=5) == [0, 1, 5, 6, 7]


async def test_jitter_moves_a_turn_and_not_the_grid() -> None:
    began = await instants(Rhythm(every=1.0, jitter=0.5), [], turns=40)
    offsets = [at - place for place, at in enumerate(began)]
    assert all(0 <= offset <= 0.5 for offset in offsets)
    assert len(set(offsets)) > 30


class Begun:
    """A periodic body that runs, over real time.

    Attributes:
        running: How many turns run at the moment, and at most so far.
    """

    def __init__(self) -> None:
        self.house = House()
        self.context = Stopping("metrics", clock=self.house.clock)
        self.began: list[str] = []
        self.running = self.most = self.ended = 0
        self.go = asyncio.Event()

    async def tick(self, context: Stopping) -> None:
        self.began.append("turn")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
            self.ended += 1
        finally:
            self.running -= 1

    @asynccontextmanager
    async def run(self, rhythm: Rhythm, tick: Callable[..., Any] | None = None) -> AsyncIterator[Awaitable[None]]:
        task = asyncio.ensure_future(
            Periodic("metrics", tick or self.tick, rhythm, surroundings=self.house).run(self.context)
        )
        yield task
        self.context.ask_to_stop(within=1.0)
        self.go.set()
        await asyncio.wait([task])

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - turns of real time
                await asyncio.sleep(0.002)


async def test_turns_overlap_up_to_the_most_and_those_beyond_are_left_out() -> None:
    begun = Begun()
    async with begun.run(Rhythm(every=0.005, overlap="overlap", most=3)):
        await begun.until(lambda: begun.running == 3)
        await asyncio.sleep(0.05)
        assert begun.most == 3
    assert begun.running == 0


async def test_without_overlap_one_runs_at_a_time() -> None:
    begun = Begun()
    async with begun.run(Rhythm(every=0.001)):
        await begun.until(lambda: begun.running)
        await asyncio.sleep(0.02)
        assert begun.most == 1


@pytest.mark.parametrize("overlap", ["coalesce", "overlap"])
async def test_the_turn_that_runs_ends_by_itself_when_it_is_asked_to_end(overlap: Any) -> None:
    begun = Begun()
    async with begun.run(Rhythm(every=0.05, overlap=overlap)) as task:
        await begun.until(lambda: begun.running)
        begun.context.ask_to_stop(within=20.0)
        await turns()
        assert not task.done()  # type: ignore[attr-defined]
        before = len(begun.began)
        begun.go.set()
        await soon(task)
        assert begun.ended == len(begun.began) == before
    assert begun.context.listens, "so it is given time"


@pytest.mark.parametrize("overlap", ["coalesce", "overlap"])
async def test_a_turn_that_takes_longer_than_its_limit_is_cancelled_and_has_failed(overlap: Any) -> None:
    begun = Begun()
    async with begun.run(Rhythm(every=0.05, overlap=overlap, limit=0.01)) as task:
        with pytest.raises(TimeoutError, match=r"a turn of metrics took longer than its limit of 0\.01 s"):
            await soon(task)
    assert begun.running == begun.ended == 0


@pytest.mark.parametrize("overlap", ["coalesce", "overlap"])
async def test_an_error_of_a_turn_is_the_bodys_and_ends_the_others(overlap: Any) -> None:
    begun, others = Begun(), Begun()

    async def tick(context: Stopping) -> None:
        if len(others.began) == (1 if overlap == "overlap" else 0):
            raise ValueError("boom")
        await others.tick(context)

    async with begun.run(Rhythm(every=0.005, overlap=overlap), tick) as task:
        with pytest.raises(ValueError, match="boom"):
            await soon(task)
    assert others.running == others.ended == 0


async def test_a_plain_function_is_called_in_a_thread_with_the_blocking_context() -> None:
    begun = Begun()
    seen: list[str] = []

    def tick(stopping: blocking.Stopping) -> None:
        seen.append(type(stopping).__module__)

    async with begun.run(Rhythm(every=0.005), tick):
        await begun.until(lambda: len(seen) > 2)
    assert set(seen) == {"locum.blocking.contexts"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": 0},
        {"every": float("inf")},
        {"every": 1, "jitter": 1},
        {"every": 1, "jitter": -1},
        {"every": 1, "overlap": "pile up"},
        {"every": 1, "most": 0},
        {"every": 1, "limit": 0},
    ],
)
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Rhythm(**wrong)


def test_a_class_that_does_not_say_what_it_does_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match="override tick"):
        PeriodicService().tick(None)
