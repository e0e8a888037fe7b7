"""What it takes to divide work anew: how long, how many writes, and what instances do more than a loop."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, report
from benchmarks.figures import spread
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.shards import ShardWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.options import Options

__all__ = ["measure"]

_OF = 64
_EXAMPLE = Path(__file__).parents[1] / "examples" / "order_stream"


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For what the subjects write.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    place = folder / "shards"
    place.mkdir()
    found = {"rebalance": rebalance(place, max(1, options.n // 4), options.ttl), "throughput": throughput()}
    report.show_machine(machine.describe(facts))
    report.show_costs(f"{_OF} shards on 3 instances, TTL {options.ttl:g} s", found["rebalance"])
    report.show_costs("orders handled (wanted: 2 instances at least 1.8 x the loop)", found["throughput"])
    results = {"family": "shards", "machine": facts, **found}
    return [report.keep(results, options.out / "shards.json")], True


def rebalance(folder: Path, n: int, ttl: float) -> dict[str, Any]:
    """From a stop, a kill and a start until each shard is where it is planned, and the writes a shard that moved."""
    times: dict[str, list[float]] = {"stopped": [], "killed": [], "joined": []}
    calls: dict[str, list[float]] = {"stopped": [], "killed": [], "joined": []}
    silence = contextlib.redirect_stdout(io.StringIO())  # a cluster tells at its end what was said
    with silence, Cluster(folder, app="sharded", ttl=ttl, environment={"FAULTS_CHECKPOINTS": "0"}) as cluster:
        watch = ShardWatch(cluster, _OF)
        for _ in range(3):
            cluster.start()

        def timed(kind: str, act: Callable[[], object]) -> None:
            before, revision, begun = watch.settled(), _revision(cluster.database), time.monotonic()
            act()
            after = watch.settled()
            times[kind].append((time.monotonic() - begun) * 1000)
            moved = sum(old != new for old, new in zip(before, after, strict=True))
            calls[kind].append((_revision(cluster.database) - revision) / moved)

        for _ in range(n):
            for kind, number in (("stopped", signal.SIGTERM), ("killed", signal.SIGKILL)):
                timed(kind, functools.partial(_ended, cluster, number))
                timed("joined", cluster.start)
    return {
        **{f"{kind}: until all is in its place": spread(values, "ms") for kind, values in times.items()},
        **{f"{kind}: store writes a moved shard": spread(values, "writes") for kind, values in calls.items()},
    }


def _ended(cluster: Cluster, number: int) -> None:
    instance = cluster.random.choice(cluster.alive())
    pids = cluster.pids(instance)
    for pid in (pids.guardian, pids.keeper, pids.worker) if number == signal.SIGKILL else (pids.keeper,):
        os.kill(pid, number)
    instance.leave()


def _revision(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        ((revision,),) = connection.execute("SELECT revision FROM locum_store").fetchall()
    return int(revision)


def throughput() -> dict[str, Any]:
    """Orders a second of the example, from which more come than anybody can handle, and of a loop without Locum."""
    command = [sys.executable, "run.py", "--seconds", "6", "--rate", "600", "--instances", "0,1,2,3", "--json"]
    output = subprocess.run(command, cwd=_EXAMPLE, capture_output=True, check=False, text=True).stdout
    runs = {run["instances"]: run["handled_per_second"] for run in json.loads(output)["runs"]}
    named = {"a loop without Locum" if count == 0 else f"{count} instances": rate for count, rate in runs.items()}
    return {**named, "2 instances / the loop": round(runs[2] / runs[0], 2)}
