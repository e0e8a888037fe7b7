"""Jobs that come after others: made in the very transaction that says that those have succeeded."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from locum import Run
from locum.errors import ScheduleError
from locum.jobs.declaring import job_of
from locum.jobs.finish import Finish
from locum.jobs.triggers import Every
from tests.unit.jobs.book import A, Book, job, one_claimed
from tests.unit.jobs.test_running import host, over

if TYPE_CHECKING:
    from locum import Host
    from locum.jobs.job import Job

__all__ = ["host"]  # a fixture


async def end(book: Book, run: Any, outcome: Any, *jobs: Job, **more: Any) -> None:
    known = {one.name: one for one in jobs}
    ends = [Finish(run.id, run.token, outcome, **more)]
    assert not await book.do(lambda db: book.ledger.finish(db, ends, session=A, jobs=known))


async def test_a_success_is_followed_once_for_the_same_time(book: Book) -> None:
    of = job()
    report = job("report", trigger=None, after="sum", params={"day": "{fire_at:%Y}"})
    await book.declare(report)
    run = await one_claimed(book, of)
    await end(book, run, "succeeded", of, report)
    await end(book, run, "succeeded", of, report)  # the answer was lost
    (following,) = await book.take(of, report)
    assert (following.job, following.fire_at, following.nonce) == ("report", run.fire_at, f"after/{run.id}")
    await end(book, following, "succeeded", of, report)
    assert await book.live("report") == []


@pytest.mark.parametrize("outcome", ["dead", "cancelled", "again", "given_back"])
async def test_nothing_follows_on_anything_else(book: Book, outcome: str) -> None:
    of, report = job(), job("report", trigger=None, after="sum")
    await book.declare(report)
    await end(book, await one_claimed(book, of), outcome, of, report)
    assert await book.live("report") == []


async def test_it_follows_on_the_whole_and_not_on_its_slices(book: Book) -> None:
    of, report = job(), job("report", trigger=None, after="sum")
    await book.declare(report)
    run = await one_claimed(book, of)
    await end(book, run, "cut", of, report, parts=("{}", "{}"))
    for one in await book.take(of, room=10):
        assert await book.live("report") == []
        await end(book, one, "succeeded", of, report)
    assert len(await book.live("report")) == 1


async def test_a_host_runs_one_after_the_other(host: Host) -> None:
    order: list[str] = []

    @host.job
    async def load(run: Run) -> None:
        order.append("load")

    @host.job(after="load")
    async def report(run: Run) -> None:
        order.append("report")

    async with host.lifespan():
        run = await host.jobs.run_now("load")
        first = await over(host, run)
        async with asyncio.timeout(20):
            while not (second := await host.jobs.history("report")):
                pass
    assert order == ["load", "report"]
    assert second[0].fire_at == first.fire_at


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"report": "lod"}, "report: after='lod' is no job of this host: it would never run"),
        ({"a": "b", "b": "c", "c": "b"}, "a after b after c after b: they would follow on each other for ever"),
    ],
)
async def test_j10_who_follows_on_nobody_is_told_when_its_host_begins(
    host: Host, after: dict[str, str], told: str
) -> None:
    async def body(run: Run) -> None: ...

    host.job(name="load")(body)
    for name, other in after.items():
        host.job(name=name, after=other)(body)
    with pytest.raises(ScheduleError, match=re.escape(told)):
        async with host.lifespan():
            pass


@pytest.mark.parametrize("options", [{"after": "sum"}, {"after": "other", "trigger": Every(60)}])
def test_j10_what_cannot_follow_is_told(options: Any) -> None:
    trigger = options.pop("trigger", None)

    async def body(run: Run) -> None: ...

    with pytest.raises(ScheduleError, match="after="):
        job_of("sum", body, trigger and (lambda _: trigger), options)
