"""Clusters whose instances run jobs: what bodies have noted, and what the job database says of it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from locum.jobs.database import job_store_beside
from locum.jobs.job import Roster
from locum.jobs.jobs import Jobs
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.processes import send
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import LONG, until
from tests.faults.kit.wallclocks import JumpingClocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.jobs.jobs import Past
    from tests.faults.kit.cluster import Instance

__all__ = ["SECOND", "JumpingWatched", "Watched"]

SECOND: Final = 1_000_000


class Watched(Cluster):
    """Instances with jobs."""

    @property
    def jobs(self) -> Jobs:
        """Their jobs, as whoever has the job database sees them."""
        return Jobs(Roster(), lambda: job_store_beside(self.url), namespace="faults")

    def notes(self, what: str, job: str = "") -> list[dict[str, Any]]:
        """What bodies have noted so far; `at` is an instant of the tests' own wall clock, in microseconds."""
        file = self.folder / "notes"
        text = file.read_text() if file.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may be on its way
        found = [one for one in map(json.loads, lines) if one["what"] == what and one["job"].startswith(job)]
        ahead = time.time_ns() - now()  # bodies note what the boot clock shows, which nobody sets
        return [{**one, "at": (one["boot"] + ahead) // 1000} for one in found]

    def records(self, job: str | None = None, *, slices: bool = False) -> list[Past]:
        """The runs that are over, and what was left out, the oldest time first; with slices, if these are wanted."""
        found = asyncio.run(self.jobs.history(job, limit=100_000, slices=slices))
        return sorted(found, key=lambda one: one.fire_at)

    def ready(self, instances: int) -> None:
        """Start so many, and wait until each runs its jobs."""
        for _ in range(instances):
            self.start()
        names = {instance.name for instance in self.alive()}
        until(lambda: names <= self._running(), "all instances to run their jobs")

    def _running(self) -> set[str]:
        shown = self.window.services()
        return {name for name, modes in shown.items() if modes.get("jobs", {}).get("mode") == "running"}

    def ask(self, job: str) -> str:
        """Have a job run."""

        def run_now() -> str | None:
            try:
                return asyncio.run(self.jobs.run_now(job))
            except Exception as error:
                if type(error).__name__ != "UnknownJobError":
                    raise
                return None  # nobody has declared it yet

        return until(run_now, f"somebody to declare {job}", pause=0.1)

    def began(self, run: str, *, beyond: int = 0) -> dict[str, Any]:
        """Wait until a body of that run has begun, under a higher token than this."""
        return until(
            lambda: next((one for one in self.notes("began") if one["run"] == run and one["token"] > beyond), None),
            f"the run {run} to begin",
        )

    def over(self, run: str, *, within: float = LONG) -> Past:
        """Wait until a run is over."""
        return until(
            lambda: next((one for one in self.records() if one.id == run), None),
            f"the end of {run}",
            within=within,
            pause=0.1,
        )

    def kill(self, instance: Instance) -> None:
        """End all processes of an instance at once."""
        pids = self.pids(instance)
        for pid in (pids.guardian, pids.keeper, pids.worker):
            send(pid, signal.SIGKILL)

    def end(self) -> None:
        """Have all instances end, and see that they do so cleanly."""
        for instance in self.alive():
            instance.process.send_signal(signal.SIGTERM)
        for instance in self.alive():
            assert instance.leave() == 0, f"{instance.name} did not end cleanly"

    def die_after(self, number: int) -> None:
        """Have an instance die after so many operations of the job database, and wait until it has."""
        armed = self.folder / "die-after"
        draft = armed.with_suffix(".draft")
        draft.write_text(str(number))
        draft.rename(armed)
        until(lambda: not armed.exists(), f"an instance to die after operation {number}")

    def go_on(self) -> None:
        """Let the bodies that wait for it end."""
        (self.folder / "leave").touch()

    @contextmanager
    def all_away(self) -> Iterator[None]:
        """For the length of the block neither the store nor the job database answers."""
        with ExitStack() as stack:
            stack.enter_context(self.place.away())
            if isinstance(self.place, SqliteFile):
                stack.enter_context(SqliteFile(self.place.path.with_name("store-jobs.db")).away())
            yield


class JumpingWatched(Watched, JumpingClocks):
    """The same, with wall clocks that jump."""
