"""What a body is given: pauses that end when it shall end, and repetition without drift."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.context import Context
from tests.unit.kit import ManualClock, soon, turns

if TYPE_CHECKING:
    from collections.abc import Sequence


class Played(Context):
    """A context whose pauses are over at once, and the time with them."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("test", clock=clock)
        self._time = clock
        self.pauses: list[float] = []

    async def sleep(self, duration: float) -> None:
        self.pauses.append(round(duration, 6))
        self._time.pass_by(max(0.0, duration))
        await asyncio.sleep(0)


async def play(interval: float, work: Sequence[float]) -> tuple[list[int], list[float], list[float]]:
    """The turns, the pauses, and when each turn began, if the turns take so long."""
    clock = ManualClock()
    context, begun = Played(clock), clock.now()
    numbers, starts = [], []
    async for turn in context.every(interval):
        numbers.append(turn)
        starts.append(round((clock.now() - begun) / 1e9, 6))
        if len(numbers) > len(work):
            break
        clock.pass_by(work[len(numbers) - 1])
    return numbers, context.pauses, starts


async def test_turns_come_at_once_and_then_without_drift() -> None:
    numbers, pauses, starts = await play(1.0, [0.3, 0.1, 0.999])
    assert numbers == [0, 1, 2, 3]
    assert pauses == [0.7, 0.9, 0.001]
    assert starts == [0.0, 1.0, 2.0, 3.0]


async def test_a_long_turn_is_followed_at_once_and_missed_ones_are_skipped() -> None:
    numbers, _, starts = await play(1.0, [2.5, 0.1, 0.1])
    assert numbers == [0, 2, 3, 4]
    assert starts == [0.0, 2.5, 3.0, 4.0]


async def test_without_an_interval_turns_follow_each_other() -> None:
    numbers, _, _ = await play(0.0, [0.5, 0.0])
    assert numbers == [0, 1, 2]


async def test_repetition_ends_when_asked_to_even_in_the_middle_of_a_pause() -> None:
    context = Context("test", clock=Clock())
    seen = []

    async def body() -> None:
        async for turn in context.every(3600):
            seen.append(turn)

    task = asyncio.ensure_future(body())
    await turns()
    assert (seen, task.done()) == ([0], False)
    context.ask_to_stop(within=5)
    await soon(task)
    assert seen == [0]


async def test_repetition_that_is_asked_to_end_before_it_begins_never_does() -> None:
    context = Context("test", clock=Clock())
    context.ask_to_stop(within=5)
    assert [turn async for turn in context.every(0)] == []


async def test_a_pause_ends_when_the_body_shall_end() -> None:
    context = Context("test", clock=Clock())
    pausing = asyncio.ensure_future(context.sleep(3600))
    await turns()
    assert not pausing.done()
    context.ask_to_stop(within=5)
    await soon(pausing)
    await soon(context.sleep(3600))


@pytest.mark.parametrize("duration", [0.0, -1.0])
async def test_a_pause_of_nothing_is_over_at_once(duration: float) -> None:
    await soon(Context("test", clock=Clock()).sleep(duration))


async def test_the_deadline_is_set_once_and_runs_down() -> None:
    clock = ManualClock()
    context = Context("test", clock=clock)
    seen = [(context.stopping, context.deadline)]
    context.ask_to_stop(within=5)
    clock.pass_by(2)
    context.ask_to_stop(within=100)
    seen.append((context.stopping, context.deadline))
    clock.pass_by(10)
    seen.append((context.stopping, context.deadline))
    assert seen == [(False, None), (True, 3.0), (True, 0.0)]


async def test_a_context_has_a_logger_of_its_services_name() -> None:
    context = Context("asked-later", clock=Clock())
    assert "locum.service.asked-later" not in logging.root.manager.loggerDict, "a million names would leave as many"
    assert context.log.name == "locum.service.asked-later"
