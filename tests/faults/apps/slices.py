"""A job that is cut into slices which wait, one of them twenty times as long as the others."""

from __future__ import annotations

import os
from typing import Any

from locum import Host, Run
from tests.faults.apps.schedules import note

host = Host("faults", jobs_at_once=5)
MANY, WAIT = int(os.environ["FAULTS_SLICES"]), float(os.environ["FAULTS_LENGTH"])


async def plan(run: Run) -> list[dict[str, Any]]:
    note(run, "planned")
    return [{"wait": WAIT * (20 if part == 0 else 1)} for part in range(MANY)]


async def complete(run: Run) -> None:
    note(run, "completed")
    assert await run.results() == list(range(MANY))


@host.job(slices=plan, on_complete=complete)
async def wait(run: Run) -> int:
    note(run, "began")
    await run.sleep(run.params["wait"])
    note(run, "ended")
    assert run.part is not None
    return run.part
