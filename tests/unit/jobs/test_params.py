"""Parameters are what a job takes: seen at its declaration, when a run is asked for, and before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, field_validator

from locum import Host, Run
from locum.errors import ScheduleError
from locum.jobs.job import Roster
from locum.jobs.jobs import Jobs
from tests.unit.jobs.test_running import over

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Day:
    day: date
    parts: int = 4


@dataclass
class Month:
    month: int


class Customer(BaseModel):
    customer: str


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("shop", store=f"sqlite:///{tmp_path}/shop.db", ttl=4.0)


async def body() -> None: ...


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Day, {"day": "{fire_at:%Y-%m-%d}"}, {"day": "{fire_at:%Y}-no"}),
        (Month, {"month": 3}, {"month": "march"}),
        (Customer, {"customer": "x"}, {}),
    ],
)
async def test_they_are_checked_when_the_job_is_declared(host: Host, kind: Any, good: Any, bad: Any) -> None:
    host.schedule(every=60, name="good", params_type=kind, params=good)(body)
    with pytest.raises(ScheduleError, match="the params of bad are not what it takes"):
        host.schedule(every=60, name="bad", params_type=kind, params=bad)(body)


def test_what_cannot_be_read_is_told_at_the_declaration(host: Host) -> None:
    class Opaque:
        pass

    with pytest.raises(ScheduleError, match=r"params_type=.* cannot be read from JSON"):
        host.schedule(every=60, name="opaque", params_type=Opaque)(body)


async def test_they_are_checked_when_a_run_is_asked_for_and_read_as_their_type(host: Host) -> None:
    read: list[Day] = []

    @host.job(params_type=Day)
    async def work(run: Run) -> None:
        read.append(run.params_as(Day))

    async with host.lifespan():
        run = await host.jobs.run_now("work", params={"day": "2026-02-03"})
        assert (await over(host, run)).outcome == "succeeded"
        with pytest.raises(ScheduleError, match="the params of work are not what it takes"):
            await host.jobs.run_now("work", params={"day": 1.5})
        with pytest.raises(ScheduleError, match="are not what it takes"):
            await host.jobs.run_now("work")
    assert read == [Day(date(2026, 2, 3), 4)]


async def test_they_are_checked_for_each_time_that_is_backfilled(host: Host) -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC)

    @host.schedule(cron="0 0 * * *", params_type=Month, params={"month": 1}, key="{month}")
    async def work(run: Run) -> None: ...

    async with host.lifespan():
        assert await host.jobs.backfill("work", begin, begin.replace(day=3)) == 2


async def test_who_does_not_have_the_job_may_ask_wrongly_and_the_run_is_a_dead_letter_at_once(host: Host) -> None:
    begun: list[int] = []

    @host.job(params_type=Day, retry=5)
    async def work(run: Run) -> None:
        begun.append(run.attempt)

    async with host.lifespan():
        jobs = Jobs(Roster(), lambda: host.settings.job_store_url, namespace="shop")
        run = await jobs.run_now("work", params={"day": "tomorrow"})
        dead = await over(host, run)
    assert (dead.outcome, dead.attempt, begun) == ("dead", 1, [])
    assert "the params of work are not what it takes" in dead.error


async def test_a_type_that_fails_to_judge_is_that_run_s_failure_and_no_other_s(host: Host) -> None:
    class Odd(BaseModel):
        day: int

        @field_validator("day")
        @classmethod
        def judge(cls, day: int) -> int:
            if day:
                raise RuntimeError("cannot judge")
            return day

    @host.job(params_type=Odd)
    async def work(run: Run) -> None: ...

    async with host.lifespan():
        jobs = Jobs(Roster(), lambda: host.settings.job_store_url, namespace="shop")
        dead = await over(host, await jobs.run_now("work", params={"day": 1}))
        assert (dead.outcome, dead.error) == ("dead", "RuntimeError: cannot judge")
        assert (await over(host, await host.jobs.run_now("work", params={"day": 0}))).outcome == "succeeded"


async def test_those_of_each_slice_are_checked(host: Host) -> None:
    async def plan(run: Run) -> list[dict[str, Any]]:
        del run
        return [{"month": 1}, {"month": "two"}]

    @host.job(slices=plan, params_type=Month)
    async def work(run: Run) -> None: ...

    async with host.lifespan():
        dead = await over(host, await host.jobs.run_now("work"))
    assert dead.outcome == "dead"
    assert "the params of work are not what it takes" in dead.error
