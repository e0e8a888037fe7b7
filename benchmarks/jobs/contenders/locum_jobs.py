"""Locum's jobs, under `locum run`: each schedule is a job of its own, with a record for each of its times."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.jobs.work import Work
from locum import Host, Misfire, Run
from locum.jobs.declaring import job_of
from locum.jobs.triggers import Every, Once

if TYPE_CHECKING:
    from locum.jobs.triggers import Trigger

work = Work()
host = Host("bench", store=work.server, jobs_at_once=200)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def fire(run: Run) -> None:
    """The whole job."""
    work.note(int(run.name.removeprefix("job-")), run.fire_at)


async def wait(run: Run) -> None:
    """A long one, whose executor is killed."""
    work.note(run.attempt, run.fire_at)
    await run.sleep(600)


def trigger(number: int, name: str) -> Trigger:
    """When a schedule fires."""
    del name
    first = work.first(number)
    return Every(work.period, since=first) if work.period else Once(first)


for number in range(work.many):
    host.plan.take_jobs().declare(
        job_of(
            f"job-{number}", fire, partial(trigger, number), {"overlap": "buffer_all", "misfire": Misfire(policy="all")}
        )
    )
if not work.many:
    host.job(wait)
