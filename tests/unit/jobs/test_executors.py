"""Where bodies are executed: a thread ends when it likes, a process when it must."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from locum import Run
from locum.errors import ConfigurationError, ScheduleError
from locum.jobs.declaring import job_of
from tests.faults.kit.processes import state
from tests.unit.jobs.apart import add, die, hang
from tests.unit.jobs.test_running import host, over, until

if TYPE_CHECKING:
    from pathlib import Path

    from locum import Host

__all__ = ["host"]  # a fixture


def pids_of(tmp_path: Path) -> list[int]:
    file = tmp_path / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def test_a_process_is_called_with_the_params_and_returns_json(host: Host, tmp_path: Path) -> None:
    async def plan(run: Run) -> list[dict[str, Any]]:
        return [{"b": b} for b in range(3)]

    results: list[Any] = []

    async def complete(run: Run) -> None:
        results.extend(await run.results())

    pids = str(tmp_path / "pids")
    host.job(executor="process", slices=plan, on_complete=complete, params={"a": 1, "pids": pids})(add)
    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("add"))
    assert record.outcome == "succeeded"
    assert results == [1, 2, 3]
    assert len(set(pids_of(tmp_path)) - {os.getpid()}) == 3


async def test_what_a_process_raises_is_the_runs_failure(host: Host, tmp_path: Path) -> None:
    host.job(executor="process", params={"a": 1, "b": -1, "pids": str(tmp_path / "pids")})(add)
    host.job(executor="process")(die)
    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("add"))
        died = await over(host, await host.jobs.run_now("die"))
    assert (record.outcome, "ValueError: b is below 0" in record.error) == ("dead", True)
    assert (died.outcome, "ended with -9" in died.error) == ("dead", True)


async def test_a_process_that_takes_too_long_is_killed_and_its_host_goes_on(host: Host, tmp_path: Path) -> None:
    host.job(executor="process", limit=5.0, params={"pids": str(tmp_path / "pids")})(hang)
    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("hang"))
        assert (record.outcome, "took longer than its limit" in record.error) == ("dead", True)
        assert all(state(pid) in (None, "Z") for pid in pids_of(tmp_path))


async def test_a_cancelled_run_takes_its_process_with_it(host: Host, tmp_path: Path) -> None:
    host.job(executor="process", params={"pids": str(tmp_path / "pids")})(hang)
    async with host.lifespan():
        run = await host.jobs.run_now("hang")
        await until(lambda: bool(pids_of(tmp_path)))
        await host.jobs.cancel(run)
        assert (await over(host, run)).outcome == "cancelled"
    (pid,) = pids_of(tmp_path)
    assert state(pid) in (None, "Z")


async def test_a_plain_function_runs_in_a_thread(host: Host) -> None:
    import threading

    seen: list[Any] = []

    @host.job(executor="thread")
    def work() -> None:
        seen.append(threading.current_thread() is threading.main_thread())

    async with host.lifespan():
        assert (await over(host, await host.jobs.run_now("work"))).outcome == "succeeded"
    assert seen == [False]


async def body() -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (body, {"executor": "process"}, "is an async def"),
        (die, {}, "is a plain def"),
        (die, {"executor": "moon"}, "is not known"),
        (add, {"executor": "process", "params": {"a": 1}}, "its params are not what add takes"),
        (die, {"executor": "process", "stall": 1.0}, "use limit="),
        (lambda: None, {"executor": "process"}, "by its name in a module"),
    ],
)
def test_j10_what_cannot_be_executed_is_told_when_it_is_declared(function: Any, options: Any, told: str) -> None:
    with pytest.raises((ConfigurationError, ScheduleError), match=told):
        job_of("sum", function, None, options)
