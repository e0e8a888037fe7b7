"""Started in order, stopped in reverse; every step runs even if an earlier one failed."""

from __future__ import annotations

import logging

import pytest

from locum.errors import StartError, StopTimeoutError
from locum.host.lifecycle import start_all, stop_all


class Played:
    """A runner that notes its steps, and fails where it is told to."""

    stop_timeout = 20.0

    def __init__(self, name: str, steps: list[str], **failures: Exception) -> None:
        self.name, self._steps, self._failures = name, steps, failures

    async def start(self) -> None:
        self._note("start")

    async def stop(self, why: str) -> None:
        self._why = why
        self._note("stop")

    async def close(self) -> None:
        self._note("close")

    def _note(self, step: str) -> None:
        self._steps.append(f"{step} {self.name}")
        if step in self._failures:
            raise self._failures[step]


def steps_of(text: str) -> list[str]:
    return [step.strip() for step in text.split(",")]


async def test_services_start_in_order_and_stop_in_reverse_all_before_any_is_closed() -> None:
    steps: list[str] = []
    runners = [Played(name, steps) for name in "abc"]
    await start_all(runners)
    assert await stop_all(runners, "was stopped") == []
    assert steps == steps_of("start a, start b, start c, stop c, stop b, stop a, close c, close b, close a")


async def test_a_start_that_fails_stops_what_was_started_and_itself_and_nothing_else_is_started() -> None:
    steps: list[str] = []
    cause = KeyError("x")
    with pytest.raises(StartError, match="b did not start: KeyError: 'x'") as failure:
        await start_all([Played("a", steps), Played("b", steps, start=cause), Played("c", steps)])
    assert steps == steps_of("start a, start b, stop b, stop a, close b, close a")
    assert failure.value.__cause__ is cause
    assert failure.value.service == "b"


async def test_what_fails_while_stopping_again_is_noted_on_the_error() -> None:
    steps: list[str] = []
    runners = [Played("a", steps, stop=ValueError("stuck")), Played("b", steps, start=KeyError("x"))]
    with pytest.raises(StartError) as failure:
        await start_all(runners)
    assert failure.value.__notes__ == ["while stopping again: stuck"]
    assert steps[-1] == "close a"


async def test_errors_are_collected_and_keep_nothing_from_being_stopped(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[str] = []
    failures: dict[str, dict[str, Exception]] = {
        "a": {"close": ValueError("a")},
        "b": {"stop": StopTimeoutError("b", 1.0)},
        "c": {"stop": KeyError("c"), "close": OSError("c too")},
    }
    runners = [Played(name, steps, **errors) for name, errors in failures.items()]
    with caplog.at_level(logging.ERROR):
        errors = await stop_all(runners, "was stopped")
    assert steps == steps_of("stop c, stop b, stop a, close c, close a"), "a close of b would wait for its body"
    assert [type(error) for error in errors] == [KeyError, StopTimeoutError, OSError, ValueError]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["c failed in its stop", "c failed in its close", "a failed in its close"], "ours say so themselves"


async def test_everyone_is_told_why() -> None:
    runner = Played("a", [])
    await stop_all([runner], "was stopped")
    assert runner._why == "was stopped"


async def test_nothing_is_started_and_stopped_too() -> None:
    await start_all([])
    assert await stop_all([], "was stopped") == []
