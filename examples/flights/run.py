"""Bootstrap the delays of each route by one process, and by instances that share it: are they equal, how fast?

Usage: python examples/flights/run.py [--workers 1,2] [--kill] [--store URL] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]  # wherever it is started

from examples.flights.data import flights  # noqa: E402
from examples.flights.delays import intervals  # noqa: E402
from locum.errors import UnknownJobError  # noqa: E402
from locum.jobs.database import job_store_beside  # noqa: E402
from locum.jobs.job import Roster  # noqa: E402
from locum.jobs.jobs import Jobs  # noqa: E402
from locum.testing.processes import descendants  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = "delays"
LONGEST = 900.0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2", help="how many instances: one count after the other")
    parser.add_argument("--kill", action="store_true", help="do it once more, and kill an instance in the middle")
    parser.add_argument("--store", help="SQLite or PostgreSQL; a file of its own if none is given")
    parser.add_argument("--slices", type=int, default=32, help="into how many parts the work is cut")
    parser.add_argument("--resamples", type=int, default=1000, help="how often each route is drawn")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.kill and _counts(given)[-1] < 2:
        parser.error("--kill: somebody must be left to go on: say --workers 2, or more at the end")
    return given


def _counts(given: argparse.Namespace) -> list[int]:
    return [int(one) for one in given.workers.split(",")]


def until(condition: Any, what: str) -> Any:
    """Ask until the answer is something."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)  # the cores are for the instances
    raise SystemExit(f"gave up waiting for {what}")


class Share:
    """Instances that share one computation.

    Args:
        folder: Of their outputs and their result.
        store: Their store.
        workers: How many.
        given: The arguments.
    """

    def __init__(self, folder: Path, store: str, workers: int, given: argparse.Namespace) -> None:
        self.folder, self.store, self.workers, self._given = folder, store, workers, given
        self.jobs = Jobs(Roster(), lambda: job_store_beside(store), namespace="flights")
        self._instances: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """They run, and have read their data."""
        try:
            for number in range(self.workers):
                self._start(f"worker-{number}")
            until(lambda: len(list(self.folder.glob("here-*"))) == self.workers, "the instances to read their data")
            yield
        finally:
            for instance in self._instances:
                instance.send_signal(signal.SIGTERM)
            for instance in self._instances:
                with suppress(subprocess.TimeoutExpired):
                    instance.wait(30)
                end(instance)

    def _start(self, name: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path[:2]),
            "LOCUM_STORE": self.store,
            "LOCUM_INSTANCE": name,
            "FLIGHTS_FOLDER": str(self.folder),
            "FLIGHTS_SLICES": str(self._given.slices),
            "FLIGHTS_RESAMPLES": str(self._given.resamples),
        }
        with (self.folder / f"{name}.out").open("wb") as output:
            command = [sys.executable, "-m", "locum", "run", "examples.flights.app:host"]
            self._instances.append(
                subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
            )

    def compute(self, *, kill: bool) -> dict[str, Any]:
        """One run: its result, and how it went."""
        run = until(self._ask, "the job to be declared")
        begun = time.monotonic()
        result = self.folder / f"result-{run}.json"
        if kill:
            until(lambda: self._is_in_the_middle(run), "a third of the slices to be over, and another one to run")
            end(self._instances.pop(0))
        looks = itertools.count(1)  # one at the database costs what an instance should have: it is asked now and then
        until(lambda: result.exists() or (next(looks) % 25 == 0 and self._is_over(run)), "the result")
        seconds = time.monotonic() - begun
        until(lambda: self._record(run), "the record of the run")
        fire_at = self._record(run).fire_at
        history = asyncio.run(self.jobs.history(JOB, limit=100_000, slices=True))
        mine = [one for one in history if one.part is not None and one.fire_at == fire_at]
        return {
            "result": json.loads(result.read_text()),
            "seconds": seconds,
            "slices": len(mine),
            "recovered": sum(one.attempt > 1 for one in mine),
        }

    def _ask(self) -> str | None:
        """Have it run, once an instance has declared it."""
        try:
            return asyncio.run(self.jobs.run_now(JOB))
        except UnknownJobError:
            return None

    def _is_in_the_middle(self, run: str) -> bool:
        """Whether enough is over, and the first instance has a slice that it has not ended."""
        live = asyncio.run(self.jobs.live(JOB, slices=True))
        over = next((one.progress.done for one in live if one.id == run and one.progress), 0)
        busy = [one for one in live if one.part is not None and one.state == "running" and one.instance == "worker-0"]
        return over * 3 > self._given.slices and bool(busy)

    def _record(self, run: str) -> Any:
        return next((one for one in asyncio.run(self.jobs.history(JOB)) if one.id == run), None)

    def _is_over(self, run: str) -> bool:
        """Whether it has failed, and nothing is to be waited for."""
        record = self._record(run)
        if record is not None and record.outcome != "succeeded":
            raise SystemExit(f"the run was {record.outcome}: {record.error}")
        return False


def end(instance: subprocess.Popen[bytes]) -> None:
    """End all processes of an instance at this moment."""
    for pid in [instance.pid, *descendants(instance.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    instance.wait()


def main() -> int:
    """Compute, compare, tell."""
    given = arguments()
    counts = _counts(given)
    rounds = [(str(workers), workers, False) for workers in counts]
    if given.kill:
        rounds.append((f"{counts[-1]}, one of them killed", counts[-1], True))
    rows, routes = flights()
    begun = time.monotonic()
    alone = intervals(routes, routes, given.resamples)
    seconds = {"alone": round(time.monotonic() - begun, 1)}
    expected = json.loads(json.dumps(alone))
    equal, slices, recovered = True, 0, 0
    with tempfile.TemporaryDirectory(prefix="locum-flights-") as folder:
        for number, (name, workers, kill) in enumerate(rounds):
            (own := Path(folder) / str(number)).mkdir()
            share = Share(own, given.store or f"sqlite:///{own}/flights.db", workers, given)
            with share.running():
                found = share.compute(kill=kill)
            equal = equal and found["result"] == expected
            seconds[name] = round(found["seconds"], 1)
            slices, recovered = found["slices"], recovered + found["recovered"]
    faster = {str(workers): round(seconds["alone"] / max(seconds[str(workers)], 0.1), 2) for workers in counts}
    told = {
        "rows": rows,
        "equal": equal,
        "seconds": seconds,
        "speed_up": faster,  # over one process without Locum
        "slices": slices,
        "recovered": recovered,
    }
    if given.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            parts = [f"{part}: {one}" for part, one in value.items()] if isinstance(value, dict) else [str(value)]
            print(f"{name:>10}  {', '.join(parts)}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
