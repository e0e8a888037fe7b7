"""Where bodies are executed: a thread ends when it likes, a process when it must."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from locum import Retry, Run, blocking
from locum.errors import ConfigurationError, ScheduleError, StaleRunError, StaleTermError, TermEndedError
from locum.jobs.database import opened
from locum.jobs.declaring import job_of
from locum.jobs.frames import error_of, words_of
from locum.jobs.job import Roster
from locum.jobs.jobs import Jobs, Past, Waiting
from tests.faults.kit.processes import state
from tests.unit.jobs.apart import add, breed, breed_and_hang, count, die, fall_silent, half, hang, listen, write
from tests.unit.jobs.test_running import host, over, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from locum import Host
    from locum.jobs.job import Executor

__all__ = ["host"]  # a fixture


def pids_of(tmp_path: Path) -> list[int]:
    file = tmp_path / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def is_gone(pids: list[int]) -> bool:
    """Whether none of them is there any more, soon."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while any(state(pid) not in (None, "Z") for pid in pids):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.02)
    return all(state(pid) in (None, "Z") for pid in pids)


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
    assert len(set(pids_of(tmp_path)) - {os.getpid()}) >= 3  # more, if a lease was lost on a slow machine


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


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_a_plain_function_has_its_run_wherever_it_is_executed(
    host: Host, tmp_path: Path, executor: Executor
) -> None:
    file = tmp_path / "told"
    in_a_thread = count if executor == "process" else counting(str(file))
    host.job(name="count", executor=executor, retry=Retry(attempts=2, initial=0.01), params={"file": str(file)})(
        in_a_thread
    )
    async with host.lifespan():
        run = await host.jobs.run_now("count")
        seen = [one.progress async for one in host.jobs.follow(run) if isinstance(one, Waiting)]
        record = await over(host, run)
    assert (record.outcome, record.attempt, record.error) == ("succeeded", 2, "")
    assert file.read_text() == f"{record.token} 2 5 True True\n"
    assert all(one is None or one.of == 10 for one in seen)


def counting(file: str) -> Callable[[blocking.Run], None]:
    """The same function, for a thread, which is given collaborators, and no params."""

    def counted(run: blocking.Run) -> None:
        count(run, file)

    return counted


@pytest.mark.parametrize("executor", ["asyncio", "thread", "process"])
async def test_what_a_body_says_of_its_progress_is_seen_from_anywhere(
    host: Host, tmp_path: Path, executor: Executor
) -> None:
    go_on = tmp_path / "go-on"

    async def work(run: Run) -> None:
        run.progress(30, 60, "of the orders")
        await until(go_on.exists)

    def plain(run: blocking.Run) -> None:
        half(run, str(go_on))

    bodies: dict[str, Any] = {"asyncio": work, "thread": plain, "process": half}
    host.job(name="work", executor=executor, params={"go_on": str(go_on)})(bodies[executor])
    async with host.lifespan():
        run = await host.jobs.run_now("work")
        async for one in host.jobs.follow(run):
            if isinstance(one, Waiting) and one.progress is not None:
                assert (one.progress.done, one.progress.of, one.progress.note) == (30, 60, "of the orders")
                go_on.touch()
        assert isinstance(one, Past)
        assert (one.outcome, go_on.exists()) == ("succeeded", True)
        async with opened(f"sqlite:///{tmp_path}/shop-jobs.db", namespace="shop") as database:
            told = select(database.ledger._tables.progress)
            async with asyncio.timeout(60):
                while await database.transact(lambda db: bool(db.execute(told).first())):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_process_is_asked_to_end_before_it_is_killed(host: Host, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    host.job(executor="process", params={"pids": str(pids)})(listen)
    async with host.lifespan():
        run = await host.jobs.run_now("listen")
        await until(lambda: bool(pids_of(tmp_path)))
    (left,) = await host.jobs.live("listen")
    assert (left.id, left.state, left.attempt, left.error) == (run, "ready", 2, "")
    assert (tmp_path / "pids-asked").read_text() == "True True"
    assert await is_gone(pids_of(tmp_path))


async def test_what_a_process_has_started_ends_with_its_run(host: Host, tmp_path: Path) -> None:
    """Whether it returns or is killed: what is left of it would work on without a token."""
    host.job(executor="process", params={"pids": str(tmp_path / "pids")})(breed)
    host.job(executor="process", params={"pids": str(tmp_path / "pids")})(breed_and_hang)
    async with host.lifespan():
        assert (await over(host, await host.jobs.run_now("breed"))).outcome == "succeeded"
        left = pids_of(tmp_path)
        assert len(left) == 2
        assert await is_gone(left)
        run = await host.jobs.run_now("breed_and_hang")
        await until(lambda: len(pids_of(tmp_path)) == 4)
        await host.jobs.cancel(run)
        assert (await over(host, run)).outcome == "cancelled"
        assert await is_gone(pids_of(tmp_path))


EMBEDDED = """
import asyncio, sys
from locum import Host
from tests.unit.jobs.apart import hang

host = Host("shop", store=f"sqlite:///{sys.argv[1]}/shop.db", ttl=4.0)
host.job(executor="process", params={"pids": f"{sys.argv[1]}/pids"})(hang)


async def main():
    async with host.lifespan():
        await host.jobs.run_now("hang")
        await asyncio.sleep(600)


asyncio.run(main())
"""


async def test_a_process_does_not_outlive_its_worker_even_where_no_keeper_stands_above(tmp_path: Path) -> None:
    embedded = await asyncio.create_subprocess_exec(sys.executable, "-c", EMBEDDED, str(tmp_path))
    try:
        await until(lambda: bool(pids_of(tmp_path)))
    finally:
        embedded.kill()
        await embedded.wait()
    assert await is_gone(pids_of(tmp_path))


async def test_a_process_that_falls_silent_is_killed(host: Host) -> None:
    host.job(executor="process", stall=4.0)(fall_silent)
    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("fall_silent"))
    assert (record.outcome, "did not say for too long" in record.error) == ("dead", True)


async def test_the_token_guards_what_a_process_writes(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    with closing(sqlite3.connect(file)) as orders:
        orders.execute("CREATE TABLE done (token INTEGER)")
        orders.commit()
        host.job(executor="process", params={"file": str(file)})(write)
        async with host.lifespan():
            assert (await over(host, await host.jobs.run_now("write"))).outcome == "succeeded"
            assert orders.execute("SELECT token FROM done").fetchall() == [(1,)]
            # somebody has a later token, as after a restore of the job database: it is lifted above that
            orders.execute("UPDATE locum_fence SET highest = 7")
            orders.commit()
            record = await over(host, await host.jobs.run_now("write"))
        assert (record.outcome, record.token > 7) == ("succeeded", True)
        assert orders.execute("SELECT token FROM done").fetchall() == [(1,), (record.token,)]


def test_what_is_said_to_a_process_means_the_same_there() -> None:
    for error in (TermEndedError("job/a/0", 3, "lost"), StaleTermError("job/a/0", 3, 5), StaleRunError("a", 3)):
        found = error_of(words_of(error))
        assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
    assert error_of(words_of(ValueError("b"))) is None


async def body() -> None: ...


def asks_for_the_wrong_run(run: Run) -> None: ...


async def test_j10_what_a_function_cannot_be_called_with_is_refused_or_a_dead_letter_at_once(
    host: Host, tmp_path: Path
) -> None:
    host.job(executor="process", retry=5, params={"a": 1, "b": 2, "pids": str(tmp_path / "pids")})(add)
    async with host.lifespan():
        with pytest.raises(ScheduleError, match="its params are not what add takes"):
            await host.jobs.run_now("add", params={"a": 1})
        outside = Jobs(Roster(), lambda: host.settings.job_store_url, namespace=host.name)
        dead = await over(host, await outside.run_now("add", params={"a": 1}))
    assert (dead.outcome, dead.attempt, pids_of(tmp_path)) == ("dead", 1, [])


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (body, {"executor": "process"}, "is an async def"),
        (die, {}, "is a plain def"),
        (die, {"executor": "moon"}, "is not known"),
        (add, {"executor": "process", "params": {"a": 1}}, "its params are not what add takes"),
        (die, {"executor": "process", "stall": 1.0}, "use limit="),
        (half, {"executor": "process"}, "its params are not what half takes"),
        (asks_for_the_wrong_run, {"executor": "process"}, "a plain def is given locum.blocking.Run"),
        (lambda: None, {"executor": "process"}, "by its name in a module"),
    ],
)
def test_j10_what_cannot_be_executed_is_told_when_it_is_declared(function: Any, options: Any, told: str) -> None:
    with pytest.raises((ConfigurationError, ScheduleError), match=told):
        job_of("sum", function, None, options)
