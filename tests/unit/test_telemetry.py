"""What happens is told in sentences, in order, to those who asked."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from locum.names import snake_case
from locum.scopes import Scope
from locum.telemetry import (
    Event,
    Events,
    InstanceJoined,
    InstanceLost,
    ServiceFailed,
    StoreLost,
    StoreRestored,
    TermEnded,
    TermStarted,
)
from tests.unit.kit import turns


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            TermStarted(
                instance="web-2",
                service="settlement",
                token=41,
                previous="web-1",
                why="was killed (SIGKILL)",
                gap=0.0123,
            ),
            "web-2 is active in settlement (token 41): web-1 was killed (SIGKILL); 12 ms without an active.",
        ),
        (
            TermStarted(instance="web-2", service="settlement", token=41, previous="web-1", why="resigned"),
            "web-2 is active in settlement (token 41): web-1 resigned.",
        ),
        (
            TermStarted(
                instance="web-2",
                service="settlement",
                token=41,
                previous="web-1",
                why="fell silent for 6.1 s",
                gap=6.24,
            ),
            "web-2 is active in settlement (token 41): web-1 fell silent for 6.1 s; 6.2 s without an active.",
        ),
        (TermStarted(instance="web-1", service="settlement", token=1), "web-1 is active in settlement (token 1)."),
        (
            TermEnded(instance="web-1", service="settlement", token=41, why="was stopped", lost=False),
            "web-1 is no longer active in settlement (token 41): it was stopped.",
        ),
        (
            ServiceFailed(instance="web-1", service="metrics", error=KeyError("x"), retry_in=0.5),
            "metrics failed on web-1: KeyError: 'x'; it comes back in 500 ms.",
        ),
        (
            ServiceFailed(instance="web-1", service="metrics", error=ValueError("bad"), retry_in=None),
            "metrics failed on web-1: ValueError: bad; it is not run again.",
        ),
        (InstanceJoined(instance="web-1", name="web-2", machine="blue"), "web-2 on blue has joined."),
        (InstanceLost(instance="web-1", name="web-2", why="was stopped"), "web-2 is gone: it was stopped."),
        (StoreLost(instance="web-1", why="lost its session"), "web-1 lost its session."),
        (StoreRestored(instance="web-1"), "web-1 has a session again."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_an_event_is_a_sentence(event: Event, sentence: str) -> None:
    assert str(event) == sentence


STARTED = TermStarted(instance="web-1", service="settlement", token=1)
JOINED = InstanceJoined(instance="web-1", name="web-2", machine="blue")


def nothing(work: Any, name: str) -> None:
    raise AssertionError(f"{name} must not be started")


def test_a_handler_is_told_of_what_it_asked_for_and_what_is_below_it() -> None:
    events = Events("web-1", nothing)
    told: list[tuple[str, Event]] = []
    events.on(TermStarted, lambda event: told.append(("started", event)))
    events.on(Event, lambda event: told.append(("any", event)))
    events.tell(STARTED)
    events.tell(JOINED)
    assert told == [("started", STARTED), ("any", STARTED), ("any", JOINED)]


def test_a_handler_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events("web-1", nothing)
    told: list[Event] = []

    def fails(event: Event) -> None:
        raise ValueError("boom")

    events.on(Event, fails)
    events.on(Event, told.append)
    events.tell(STARTED)
    assert told == [STARTED]
    assert "a handler of TermStarted failed" in caplog.text
    assert "boom" in caplog.text


async def test_an_asynchronous_handler_is_a_task_with_a_name() -> None:
    told: list[Event] = []

    async def handler(event: Event) -> None:
        await asyncio.sleep(0)
        told.append(event)

    async with Scope("test") as scope:
        names = []

        def spawn(work: Any, name: str) -> None:
            names.append(name)
            scope.spawn(work, name=name)

        events = Events("web-1", spawn)
        events.on(TermStarted, handler)
        events.tell(STARTED)
        assert told == []
        await turns()
    assert told == [STARTED]
    assert names == ["handler of TermStarted"]


async def test_an_asynchronous_handler_that_fails_is_logged_and_is_no_error_of_its_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(event: Event) -> None:
        await asyncio.sleep(0)
        raise ValueError("boom")

    async with Scope("test") as scope:
        events = Events("web-1", lambda work, name: scope.spawn(work, name=name))
        events.on(Event, fails)
        events.tell(STARTED)
        await turns()
    assert "a handler of TermStarted failed" in caplog.text
    assert "boom" in caplog.text


def test_the_stack_of_an_error_begins_in_the_users_code(caplog: pytest.LogCaptureFixture) -> None:
    def fails(event: Event) -> None:
        snake_case(3)  # type: ignore[arg-type]  # which fails inside of ours

    events = Events("web-1", nothing)
    events.on(Event, fails)
    events.tell(STARTED)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    frames = [frame.name for frame in traceback.extract_tb(record.exc_info[2])]
    assert frames[:2] == ["fails", "snake_case"], "what the user called is shown, and what called the user is not"


@pytest.mark.parametrize(("event", "level"), [(STARTED, logging.INFO), (JOINED, logging.DEBUG)])
def test_an_event_is_logged_at_its_level(event: Event, level: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Events("web-1", nothing).tell(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, str(event))]
