"""Services are taken through the phases of their host: barriers, order, side by side, time limits, the way back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import Clock
from locum.errors import StartError, StopTimeoutError
from locum.host.lifecycle import Order
from locum.host.phases import Limits, Phases
from locum.service import ServiceHooks
from tests.unit.kit import soon, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

THERE = ("starting", "start", "started")


class Played(ServiceHooks):
    """A runner, and its own hooks, that notes its steps, fails where it is told to, and waits where it is told to.

    Attributes:
        go: Lets it go on, where it waits.
    """

    def __init__(self, name: str, steps: list[str], waits: tuple[str, ...] = (), **failures: BaseException) -> None:
        self.name = name
        self.hooks: ServiceHooks | None = self
        self.go, self.hurried = asyncio.Event(), False
        self._steps, self._waits, self._failures = steps, waits, failures

    async def starting(self) -> None:
        await self._note("starting")

    async def start(self) -> None:
        await self._note("start")

    async def until_ready(self) -> None:
        if "ready" in self._waits:
            await self.go.wait()

    async def started(self) -> None:
        await self._note("started")

    async def stopping(self) -> None:
        await self._note("stopping")

    async def stop(self, why: str = "hook", *, within: float | None = None) -> None:
        if why != "hook":
            self.why, self.within = why, within
            await self._note("stop")

    def hurry(self) -> None:
        self.hurried = True

    async def close(self) -> None:
        await self._note("close")

    async def _note(self, step: str) -> None:
        self._steps.append(f"{step} {self.name}")
        if step in self._waits:
            await self.go.wait()
        if step in self._failures:
            raise self._failures[step]


class Stage:
    """Some services, and their phases."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.players: dict[str, Played] = {}

    def set(self, after: dict[str, list[str]], *, limit: float = 20.0, drain: float = 0.0, **players: Any) -> Phases:
        """Phases of services: by name, each with those it comes after; how one plays, by its name."""
        self.players = {name: Played(name, self.steps, **players.get(name, {})) for name in after}
        self.phases = Phases(
            Order(after),
            {name: Limits(start=limit, stop=limit) for name in after},
            clock=Clock(),
            host=60.0,
            drain=drain,
        )
        return self.phases

    async def start(self) -> None:
        await self.phases.start(self.players)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    for player in stage.players.values():
        player.go.set()
    await stage.phases.close()


def steps_of(text: str) -> list[str]:
    return [step.strip() for step in text.split(",")]


async def test_each_phase_is_a_barrier_there_in_order_and_back_in_reverse(stage: Stage) -> None:
    phases = stage.set({"a": [], "b": ["a"]})
    await soon(stage.start())
    assert await soon(phases.stop("was stopped")) == []
    assert stage.steps == steps_of(
        "starting a, starting b, start a, start b, started a, started b,"
        "stopping b, stopping a, stop b, stop a, close b, close a"
    )
    assert {player.why for player in stage.players.values()} == {"was stopped"}


async def test_independent_ones_go_side_by_side_there_and_back(stage: Stage) -> None:
    phases = stage.set({"a": [], "b": [], "c": ["a"]}, a={"waits": ("start",)}, c={"waits": ("stop",)})
    starting = asyncio.ensure_future(stage.start())
    await turns()
    assert stage.steps[-2:] == ["start a", "start b"], "b does not wait for a, and c does"
    stage.players["a"].go.set()
    await soon(starting)
    stopping = asyncio.ensure_future(phases.stop("was stopped"))
    await turns(50)
    assert stage.steps[-2:] == ["stop c", "stop b"], "a waits for c"
    stage.players["c"].go.set()
    await soon(stopping)


async def test_a_dependant_waits_until_what_it_needs_is_ready_and_not_only_started(stage: Stage) -> None:
    stage.set({"a": [], "b": ["a"]}, a={"waits": ("ready",)})
    starting = asyncio.ensure_future(stage.start())
    await turns(200)
    assert stage.steps[-1] == "start a"
    stage.players["a"].go.set()
    await soon(starting)
    assert "start b" in stage.steps


async def test_a_failed_start_is_taken_back_keeps_its_error_and_attaches_the_others(stage: Stage) -> None:
    cause = KeyError("x")
    stage.set(
        {"a": [], "b": ["a"], "c": ["b"]}, a={"stop": ValueError("stuck"), "close": OSError("x")}, b={"start": cause}
    )
    with pytest.raises(StartError, match="b did not start: KeyError: 'x'") as failure:
        await soon(stage.start())
    assert failure.value.__cause__ is cause
    assert [str(error) for error in failure.value.rollback] == ["stuck", "x"]
    assert failure.value.__notes__ == ["while stopping again: stuck", "while stopping again: x"]
    assert stage.steps[3:] == steps_of(
        "start a, start b, stopping b, stopping a, stop b, stop a, close c, close b, close a"
    )


@pytest.mark.parametrize("phase", THERE)
async def test_a_failure_in_any_phase_there_fails_the_start(stage: Stage, phase: str) -> None:
    stage.set({"a": []}, a={phase: KeyError("x")})
    with pytest.raises(StartError, match="KeyError"):
        await soon(stage.start())
    assert stage.steps[-1] == "close a"
    assert ("stop a" in stage.steps) == (phase != "starting"), "what was never started is not stopped"


@pytest.mark.parametrize(
    ("waits", "words"),
    [("start", "its start has not ended; it stood in Played._note"), ("ready", r"it has not said ready\(\)")],
)
async def test_a_start_has_a_time_limit(stage: Stage, waits: str, words: str) -> None:
    stage.set({"a": []}, limit=0.05, a={"waits": (waits,)})
    with pytest.raises(StartError, match=words) as failure:
        await soon(stage.start())
    assert "within 0.05 s" in str(failure.value)


async def test_a_start_that_is_cancelled_is_taken_back_too(stage: Stage) -> None:
    stage.set({"a": [], "b": []}, a={"waits": ("start",)})
    starting = asyncio.ensure_future(stage.start())
    await turns()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(starting)
    assert stage.steps[-2:] == ["close b", "close a"]


async def test_what_fails_on_the_way_back_keeps_nothing_from_being_stopped(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    failures: dict[str, Callable[[], Any]] = {
        "a": lambda: {"close": ValueError("a")},
        "b": lambda: {"stop": StopTimeoutError("b", 1.0)},
        "c": lambda: {"stopping": RuntimeError("c first"), "stop": KeyError("c"), "close": OSError("c too")},
    }
    phases = stage.set({"a": [], "b": ["a"], "c": ["b"]}, **{name: make() for name, make in failures.items()})
    await soon(stage.start())
    with caplog.at_level(logging.ERROR):
        errors = await soon(phases.stop("was stopped"))
    assert stage.steps[9:] == steps_of(
        "stopping c, stopping b, stopping a, stop c, stop b, stop a, close c, close a"
    ), "a close of b would wait for its body"
    assert [type(error) for error in errors] == [RuntimeError, KeyError, StopTimeoutError, OSError, ValueError]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "c failed in its stopping",
        "c failed in its stop",
        "c failed in its close",
        "a failed in its close",
    ]


async def test_a_hook_that_does_not_end_is_left_in_time_and_told_of(stage: Stage) -> None:
    phases = stage.set({"a": [], "b": ["a"]}, limit=0.2, b={"waits": ("stopping",)})
    await soon(stage.start())
    (error,) = await soon(phases.stop("was stopped"))
    assert str(error) == "b did not stop within 0.2 s"
    assert "close a" in stage.steps
    assert "stop b" not in stage.steps


async def test_a_stop_happens_once_and_is_not_interrupted(stage: Stage) -> None:
    phases = stage.set({"a": []}, a={"waits": ("stop",)})
    await soon(stage.start())
    first, second = (asyncio.ensure_future(phases.stop("was stopped")) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert not first.done()
    stage.players["a"].go.set()
    with pytest.raises(asyncio.CancelledError):
        await soon(first)
    assert await soon(second) == []
    assert stage.steps.count("stop a") == stage.steps.count("close a") == 1


async def test_all_run_through_the_drain_and_who_is_hurried_does_not_wait_for_it(stage: Stage) -> None:
    phases = stage.set({"a": []}, drain=3600.0)
    await soon(stage.start())
    stopping = asyncio.ensure_future(phases.stop("was stopped"))
    await turns(50)
    assert stage.steps[-1] == "stopping a"
    phases.hurry()
    await soon(stopping)
    assert stage.players["a"].hurried


async def test_some_begin_anew_with_what_comes_after_them(stage: Stage) -> None:
    phases = stage.set({"a": [], "b": ["a"], "c": []})
    await soon(stage.start())
    stage.steps.clear()

    async def make(name: str) -> Played:
        stage.players[name] = Played(name, stage.steps)
        return stage.players[name]

    await soon(phases.restart(["a"], make))
    assert stage.steps == steps_of(
        "stopping b, stopping a, stop b, stop a, close b, close a,"
        "starting a, starting b, start a, start b, started a, started b"
    )
    assert await soon(phases.stop("was stopped")) == []
    assert stage.steps[-3:] == ["close c", "close b", "close a"]


async def test_nothing_is_started_and_stopped_too(stage: Stage) -> None:
    phases = stage.set({})
    await soon(stage.start())
    assert await soon(phases.stop("was stopped")) == []
