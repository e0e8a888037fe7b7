"""F70 to F73: scheduled times fire once whoever is there, and a run goes on although its executor is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from locum.jobs.database import job_store_beside
from locum.jobs.job import Roster
from locum.jobs.jobs import Jobs
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.processes import send
from tests.faults.kit.runs import FULL
from tests.faults.kit.waiting import LONG, pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.kit.cluster import Instance

SECOND = 1_000_000


class Watched(Cluster):
    """Instances with jobs, on a file."""

    @property
    def jobs(self) -> Jobs:
        """Their jobs, as whoever has the job database sees them."""
        return Jobs(Roster(), lambda: job_store_beside(self.url), namespace="faults")

    def notes(self, what: str) -> list[dict[str, Any]]:
        """What bodies have noted so far."""
        file = self.folder / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [one for one in map(json.loads, lines) if one["what"] == what]

    def records(self, job: str = "%") -> list[dict[str, Any]]:
        """The runs that are over."""
        with closing(sqlite3.connect(self.folder / "store-jobs.db")) as db:
            db.row_factory = sqlite3.Row
            found = db.execute("SELECT * FROM job_history WHERE job LIKE ? ORDER BY fire_at", (job,))
            return [dict(row) for row in found]

    def ready(self, instances: int) -> None:
        """Start so many, and wait until each runs its jobs."""
        for _ in range(instances):
            self.start()
        names = {instance.name for instance in self.instances}
        until(
            lambda: (
                {
                    name
                    for name, shown in self.window.services().items()
                    if shown.get("jobs", {}).get("mode") == "running"
                }
                == names
            ),
            "all instances to run their jobs",
        )

    def ask(self, job: str) -> str:
        """Have a job run."""

        def run_now() -> str | None:
            try:
                return asyncio.run(self.jobs.run_now(job))
            except Exception as error:
                if type(error).__name__ != "UnknownJobError":
                    raise
                return None  # nobody has declared it yet

        return until(run_now, f"somebody to declare {job}")

    def began(self, run: str, *, beyond: int = 0) -> dict[str, Any]:
        """Wait until a body of that run has begun, under a higher token than this."""
        return until(
            lambda: next((one for one in self.notes("began") if one["run"] == run and one["token"] > beyond), None),
            f"the run {run} to begin",
        )

    def over(self, run: str) -> dict[str, Any]:
        """Wait until a run is over."""
        return until(lambda: next((one for one in self.records() if one["id"] == run), None), f"the end of {run}")

    def kill(self, instance: Instance) -> None:
        """End all processes of an instance at once."""
        pids = self.pids(instance)
        for pid in (pids.guardian, pids.keeper, pids.worker):
            send(pid, signal.SIGKILL)


@pytest.fixture
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    mark = request.node.get_closest_marker("cluster")
    with Watched(tmp_path, app="schedules", **(mark.kwargs if mark else {})) as cluster:
        yield cluster


MANY, SECONDS, INSTANCES = (200, 60, 5) if FULL else (15, 6, 3)


@pytest.mark.timeout(600)
@pytest.mark.cluster(environment={"FAULTS_SCHEDULES": str(MANY)})
def test_f70_each_time_fires_once_whoever_is_there(watched: Watched) -> None:
    watched.ready(INSTANCES)

    def all_have_fired() -> bool:
        fired = Counter(one["job"] for one in watched.notes("tick"))
        return len(fired) == MANY and min(fired.values()) >= SECONDS

    until(all_have_fired, f"{SECONDS} times of each job to fire", within=SECONDS + 2 * LONG, pause=0.1)
    for instance in watched.instances:
        instance.process.send_signal(signal.SIGTERM)
    for instance in watched.instances:
        assert instance.leave() == 0
    records, bodies = watched.records("tick-%"), watched.notes("tick")
    assert {one["outcome"] for one in records} == {"succeeded"}
    times = defaultdict(list)
    for one in records:
        times[one["job"]].append(one["fire_at"])
    assert len(times) == MANY
    for job, fired in times.items():
        assert fired == list(range(fired[0], fired[-1] + 1, SECOND)), f"{job} fired at {fired}"
    assert not [one for one in bodies if one["at"] < one["fire_at"]], "a body began before its time"
    twice = [key for key, many in Counter((one["job"], one["fire_at"]) for one in bodies).items() if many > 1]
    assert not twice, f"bodies ran twice: {twice[:5]}"
    done = {(one["job"], one["fire_at"], one["token"]) for one in bodies}
    assert done == {(one["job"], one["fire_at"], one["token"]) for one in records}
    assert len({one["instance"] for one in bodies}) > 1, "one instance has done it all"


@pytest.mark.parametrize("hurt", ["worker", "instance"])
def test_f71_a_run_whose_executor_was_killed_goes_on_elsewhere_at_once(watched: Watched, hurt: str) -> None:
    """Well within the TTL: the end of the processes was witnessed."""
    watched.ready(3)
    run = watched.ask("long")
    first = watched.began(run)
    executor = watched.by_name(first["instance"])
    pass_by(2.5)  # the others look for lost runs each second
    assert len(watched.notes("began")) == 1, "another has taken a run whose executor lives"
    hurt_at = time.time_ns() // 1000
    if hurt == "worker":
        send(watched.pids(executor).worker, signal.SIGKILL)
    else:
        watched.kill(executor)
    second = watched.began(run, beyond=first["token"])
    assert second["at"] - hurt_at < 0.75 * watched.ttl * SECOND
    assert (second["attempt"], second["fire_at"]) == (2, first["fire_at"])
    (watched.folder / "leave").touch()
    record = watched.over(run)
    assert (record["outcome"], record["token"], record["attempt"]) == ("succeeded", second["token"], 2)
    following = watched.ask("long")  # its place among the runs of its job is free again
    assert watched.over(following)["outcome"] == "succeeded"
    assert [one["run"] for one in watched.notes("ended")] == [run, following]


@pytest.mark.cluster(ttl=2.0)
def test_f72_a_frozen_executor_ends_nothing_when_it_goes_on(watched: Watched) -> None:
    watched.ready(3)
    run = watched.ask("long")
    first = watched.began(run)
    frozen = watched.freeze(watched.by_name(first["instance"]))
    second = watched.began(run, beyond=first["token"])
    (watched.folder / "leave").touch()
    record = watched.over(run)
    watched.resume(frozen)
    pass_by(watched.ttl)
    assert second["instance"] != first["instance"]
    assert (record["outcome"], record["token"]) == ("succeeded", second["token"])
    assert [one["token"] for one in watched.notes("ended")] == [second["token"]]
    assert [one["token"] for one in watched.records("long")] == [second["token"]]


@pytest.mark.timeout(300)
def test_f73_a_body_that_kills_its_process_each_time_is_a_dead_letter_after_its_cap(watched: Watched) -> None:
    watched.ready(2)
    run = watched.ask("fatal")
    record = until(
        lambda: next((one for one in watched.records("fatal") if one["id"] == run), None),
        "a dead letter",
        within=8 * LONG,
    )
    assert record["outcome"] == "dead"
    assert "its executor was lost 6 times" in record["error"]
    tokens = [one["token"] for one in watched.notes("began")]
    assert len(tokens) == 6
    assert tokens == sorted(set(tokens))
