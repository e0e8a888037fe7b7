"""Services that run on every instance: completed, run again, stopped."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from locum import exit_codes
from locum.errors import StopTimeoutError
from locum.host.restart import Restart
from locum.service import Mode, ServiceHooks, Stopping
from locum.services.background import BackgroundRunner, BackgroundService
from locum.telemetry import ServiceFailed
from tests.unit.kit import soon, turns
from tests.unit.services.house import House, restarting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Running:
    """Runners of one test, which are stopped and closed with it."""

    def __init__(self) -> None:
        self.house = House()
        self._runners: list[BackgroundRunner] = []

    async def start(
        self,
        body: Any,
        hooks: ServiceHooks | None = None,
        stop_timeout: float = 20,
        restart: Restart | None = None,
        says_ready: bool = False,
    ) -> BackgroundRunner:
        runner = BackgroundRunner(
            "metrics",
            body,
            hooks,
            surroundings=self.house,
            restarts=restarting(self.house, "metrics", restart or Restart(first=0.1)),
            stop_timeout=stop_timeout,
            says_ready=says_ready,
        )
        self._runners.append(runner)
        await runner.start()
        return runner

    async def close(self) -> None:
        for runner in self._runners:
            await runner.stop("was stopped")
            await runner.close()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    yield running
    await running.close()


async def test_it_runs_until_it_is_stopped(running: Running) -> None:
    seen: list[str] = []

    async def body(stopping: Stopping) -> None:
        seen.append("began")
        try:
            await stopping.sleep(3600)
        finally:
            seen.append(f"ended, asked to: {stopping.stopping}")

    runner = await running.start(body)
    await turns()
    await soon(runner.stop("was stopped"))
    assert seen == ["began", "ended, asked to: True"]
    await runner.close()
    assert running.house.modes == [Mode.STARTING, Mode.RUNNING, Mode.STOPPING, Mode.STOPPED]


async def test_a_body_that_returns_is_completed_and_not_run_again(running: Running) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)

    await running.start(body)
    await running.house.shows(Mode.COMPLETED)
    await turns()
    assert runs == [1]
    assert running.house.events == []


async def test_a_body_that_raises_is_run_again_after_a_backoff_that_grows(running: Running) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError(f"boom {len(runs)}")

    await running.start(body)
    await running.house.shows(Mode.COMPLETED)
    assert len(runs) == 3
    first, second = running.house.events
    assert isinstance(first, ServiceFailed)
    assert isinstance(second, ServiceFailed)
    assert (first.service, first.instance, str(first.error)) == ("metrics", "web-1", "boom 1")
    assert first.retry_in is not None
    assert second.retry_in is not None
    assert 0.05 <= first.retry_in <= 0.1 <= second.retry_in <= 0.2
    assert [mode for mode in running.house.modes if mode in (Mode.RUNNING, Mode.BACKOFF)] == [
        Mode.RUNNING,
        Mode.BACKOFF,
        Mode.RUNNING,
        Mode.BACKOFF,
        Mode.RUNNING,
    ]


async def test_a_stop_in_the_middle_of_a_backoff_ends_it(running: Running) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)
        raise ValueError("boom")

    runner = await running.start(body)
    await running.house.shows(Mode.BACKOFF)
    before = len(runs)
    await soon(runner.stop("was stopped"))
    await turns()  # others are stopped before it is closed
    await soon(runner.close())
    assert len(runs) == before


async def test_a_stop_before_the_body_began_means_that_it_never_does(running: Running) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)

    runner = await running.start(body)
    await soon(runner.stop("was stopped"))
    await turns()  # others are stopped before it is closed
    await soon(runner.close())
    assert runs == []


async def test_a_body_that_would_not_stop_is_told_of(running: Running) -> None:
    go = asyncio.Event()

    async def body(stopping: Stopping) -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    runner = await running.start(body, stop_timeout=0.01)
    await turns()
    try:
        with pytest.raises(StopTimeoutError, match="metrics did not stop"):
            await runner.stop("was stopped")
        assert running.house.failures[0][1] == exit_codes.WOULD_NOT_STOP
    finally:
        go.set()


async def test_an_error_while_it_stops_is_logged_and_it_is_not_run_again(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while stopping")

    runner = await running.start(body)
    await turns()
    with caplog.at_level(logging.ERROR):
        await soon(runner.stop("was stopped"))
        await soon(runner.close())
    assert "metrics failed while it stopped" in caplog.text
    assert runs == [1]
    assert running.house.events == []


async def test_hooks_are_called_before_the_first_body_and_after_the_last(running: Running) -> None:
    steps: list[str] = []

    class Metrics(BackgroundService):
        async def start(self) -> None:
            steps.append("start")

        async def run(self, stopping: Stopping) -> None:
            steps.append("run")
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("ended")

        async def close(self) -> None:
            steps.append("close")

    metrics = Metrics()
    runner = await running.start(metrics.run, metrics)
    await turns()
    await soon(runner.stop("was stopped"))
    await soon(runner.close())
    assert steps == ["start", "run", "ended", "close"]
    running._runners.clear()


async def test_a_start_that_fails_is_the_hosts_to_judge(running: Running) -> None:
    class Metrics(BackgroundService):
        async def start(self) -> None:
            raise KeyError("no such metric")

    metrics = Metrics()
    with pytest.raises(KeyError):
        await running.start(metrics.run, metrics)


async def test_a_service_that_does_not_say_what_it_does_is_told_so() -> None:
    class Metrics(BackgroundService):
        pass

    with pytest.raises(NotImplementedError, match=r"Metrics must say what it does: override run"):
        Metrics().run(Stopping("metrics", clock=House().clock))
