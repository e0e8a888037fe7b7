"""The bootstrap as a job that is cut into slices, which idle instances pull."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from examples.flights.data import flights
from examples.flights.delays import cut, intervals
from locum import Host, Run, Stopping, blocking

FOLDER = Path(os.environ.get("FLIGHTS_FOLDER", "."))
SLICES = int(os.environ.get("FLIGHTS_SLICES", "32"))
RESAMPLES = int(os.environ.get("FLIGHTS_RESAMPLES", "1000"))

host = Host("flights", ttl=3.0, jobs_at_once=1)  # a slice keeps a core busy: a machine has as many instances as cores
rows, routes = flights()


async def plan(run: Run) -> list[dict[str, Any]]:
    """What each slice is to do."""
    return [{"routes": part} for part in cut(routes, SLICES)]


async def complete(run: Run) -> None:
    """All slices have succeeded: what they returned is put together, once."""
    found: dict[str, Any] = {}
    for part in await run.results():
        found |= part
    draft = FOLDER / f"result-{run.token}.draft"
    draft.write_text(json.dumps(dict(sorted(found.items()))))
    draft.rename(FOLDER / f"result-{run.id}.json")  # at once: whoever looks sees all of it, or nothing


@host.job(slices=plan, on_complete=complete, retry=3, executor="thread")
def delays(run: blocking.Run) -> dict[str, Any]:
    """One slice, in a thread: the loop goes on meanwhile."""
    found: dict[str, Any] = {}
    for route in run.params["routes"]:
        run.check()
        found |= intervals(routes, [route], RESAMPLES)
        run.progress(len(found), len(run.params["routes"]), route)
    return found


@host.background
async def here(stopping: Stopping) -> None:
    """Say that this instance has read its data."""
    (FOLDER / f"here-{os.environ['LOCUM_INSTANCE']}").touch()
    await stopping.asked()
