"""Services that run on every instance: completed, run again, stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from locum import blocking, exit_codes
from locum.errors import CrashLoopError, StopTimeoutError
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


# -- asked, cancelled, abandoned


async def test_a_body_that_listens_ends_by_itself_in_its_own_time(running: Running) -> None:
    go, steps = asyncio.Event(), list[str]()

    async def body(stopping: Stopping) -> None:
        async for _ in stopping.every(0.001):
            await asyncio.sleep(0)
        steps.append(f"asked, {stopping.deadline is not None}")
        await go.wait()
        steps.append("ended")

    runner = await running.start(body)
    await turns()
    stopping = asyncio.ensure_future(runner.stop("was stopped"))
    async with asyncio.timeout(20):
        while not steps:  # noqa: ASYNC110 - turns of real time
            await asyncio.sleep(0.002)
    await turns()
    assert not stopping.done()
    go.set()
    await soon(stopping)
    assert steps == ["asked, True", "ended"]


@pytest.mark.parametrize("how", ["hurried", "late"])
async def test_a_body_that_listens_and_does_not_end_is_cancelled_when_it_is_hurried_or_late(
    running: Running, how: str
) -> None:
    ends: list[str] = []

    async def body(stopping: Stopping) -> None:
        assert not stopping.stopping
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    runner = await running.start(body)
    await turns()
    stopping = asyncio.ensure_future(runner.stop("was stopped", within=20.0 if how == "hurried" else 0.1))
    await turns()
    assert ends == []
    if how == "hurried":
        runner.hurry()
    await soon(stopping)
    assert ends == ["cancelled"]


async def test_a_slow_end_is_told_of_with_the_line_where_it_stands_and_abandoned_with_its_stack(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locum.services.standing.SLOW_AFTER", 0.02)
    go = asyncio.Event()

    async def stubborn() -> None:
        while not go.is_set():
            try:
                await go.wait()  # here it stands
            except asyncio.CancelledError:
                continue

    async def body(stopping: Stopping) -> None:
        await stubborn()

    runner = await running.start(body)
    await turns()
    try:
        with caplog.at_level(logging.WARNING), pytest.raises(StopTimeoutError):
            await runner.stop("was stopped", within=0.1)
    finally:
        go.set()
    warning, *_, error = [record.getMessage() for record in caplog.records]
    assert "metrics was asked to end 0 s ago, and still stands in " in warning
    assert f"stubborn ({__file__}:" in warning
    assert warning.endswith(": await go.wait()  # here it stands")
    assert "metrics ignored that it was cancelled. Where it stands:" in error
    assert "in test_a_slow_end" in error
    assert "await go.wait()" in error


async def test_a_thread_that_does_not_end_is_told_of_by_its_own_stack(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()

    def body(stopping: blocking.Stopping) -> None:
        go.wait(20)  # in the thread

    runner = await running.start(body)
    await turns()
    try:
        with caplog.at_level(logging.ERROR), pytest.raises(StopTimeoutError):
            await runner.stop("was stopped", within=0.1)
    finally:
        go.set()
    assert "go.wait(20)  # in the thread" in caplog.text


# -- ready, and given up


async def test_it_is_ready_when_its_body_has_begun_or_when_that_says_so(running: Running) -> None:
    go = asyncio.Event()

    async def body(stopping: Stopping) -> None:
        await go.wait()
        stopping.ready()
        await asyncio.Event().wait()

    at_once = await running.start(body)
    await soon(at_once.until_ready())
    runner = await running.start(body, says_ready=True)
    await turns()
    assert not runner.is_ready
    go.set()
    await soon(runner.until_ready())
    assert runner.is_ready


async def test_who_waits_for_it_to_be_ready_is_told_that_it_never_will_be(running: Running) -> None:
    async def body(stopping: Stopping) -> None:
        raise ValueError("boom")

    runner = await running.start(body, says_ready=True, restart=Restart(when="never"))
    with pytest.raises(ValueError, match="boom"):
        await soon(runner.until_ready())
    assert running.house.modes[-1] is Mode.FAILED
    assert [str(error) for error in running.house.overs] == ["boom"]
    (event,) = running.house.events
    assert isinstance(event, ServiceFailed)
    assert event.retry_in is None


async def test_a_crash_loop_is_its_hosts_to_judge(running: Running) -> None:
    async def body(stopping: Stopping) -> None:
        raise ValueError("boom")

    await running.start(body, restart=Restart(most=2, first=0.001))
    await running.house.sees(lambda: running.house.overs)
    (crash,) = running.house.overs
    assert isinstance(crash, CrashLoopError)
    assert str(crash.__cause__) == "boom"
    assert running.house.modes.count(Mode.RUNNING) == 3


async def test_always_means_after_a_return_too(running: Running) -> None:
    runs: list[int] = []

    async def body(stopping: Stopping) -> None:
        runs.append(1)

    await running.start(body, restart=Restart(when="always", first=0.001))
    await running.house.sees(lambda: len(runs) > 2)


async def test_a_completed_one_is_told_to_its_host_once(running: Running) -> None:
    async def body(stopping: Stopping) -> None: ...

    await running.start(body)
    await running.house.shows(Mode.COMPLETED)
    assert running.house.overs == [None]


async def test_a_body_that_pauses_again_and_again_though_asked_does_not_listen_and_is_cancelled(
    running: Running,
) -> None:
    async def body(stopping: Stopping) -> None:
        while True:
            await stopping.sleep(3600)

    runner = await running.start(body)
    await turns()
    await soon(runner.stop("was stopped", within=3600.0))
