"""What it takes to divide work anew: how long, how many calls, and what instances do more than a loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, report
from benchmarks.figures import spread
from locum.coordination import coordinator
from locum.coordination.coordinator import Coordinator
from locum.coordination.line import line_prefix
from locum.coordination.shards import Sharding
from locum.registry import make_store
from locum.scopes import Scope
from tests.faults.kit.calls import count_calls
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
    found = {
        "rebalance": rebalance(place, max(1, options.n // 4), options.ttl),
        "calls": {"to the store, a moved shard": asyncio.run(calls_of_a_move(place / "calls.db"))},
        "throughput": throughput(max(1, options.n // 6)),
    }
    report.show_machine(machine.describe(facts))
    report.show_costs(f"{_OF} shards on 3 instances, TTL {options.ttl:g} s", found["rebalance"])
    report.show_costs("what the old owner and the next one ask of the store", found["calls"])
    report.show_costs("orders handled a second (wanted: 2 instances at least 1.8 x the loop)", found["throughput"])
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


async def calls_of_a_move(database: Path) -> float:
    """The calls of both sides for one shard of many that go from one instance to another at the same moment.

    What is asked to see the plan besides is some calls for all shards together.
    """
    stores = count_calls()
    try:
        url, sharding = f"sqlite:///{database}", Sharding(of=_OF)
        async with (
            Coordinator.connect(url, instance="web-1") as giving,
            Coordinator.connect(url, instance="web-2") as taking,
            Scope("move") as scope,
        ):
            old = [giving.shards("orders", sharding).contest(index) for index in range(_OF)]
            new = [taking.shards("orders", sharding).contest(index) for index in range(_OF)]
            held = [await contest.win() for contest in old]
            own = stores[::2]  # without their keepers', whose beats are nobody's move
            before = sum(store.count for store in own)
            winning = [scope.spawn(contest.win(), name=contest.scope) for contest in new]
            lines = [line_prefix(contest.scope) for contest in new]
            while not all([(await stores[0].inner.list(line)).records for line in lines]):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            for contest, shard in zip(old, held, strict=True):
                await contest.resign(shard, "was given to web-2")
            won = await asyncio.gather(*winning)
            after = sum(store.count for store in own)
            for contest, shard in zip(new, won, strict=True):
                await contest.resign(shard, "was measured")
        return round((after - before) / _OF, 1)
    finally:
        vars(coordinator)["make_store"] = make_store


def throughput(rounds: int) -> dict[str, Any]:
    """Orders a second of the example, from which more come than anybody can handle, and of a loop without Locum."""
    command = [sys.executable, "run.py", "--seconds", "6", "--rate", "600", "--instances", "0,1,2,3", "--json"]
    rates: dict[int, list[float]] = {0: [], 1: [], 2: [], 3: []}
    for _ in range(rounds):
        output = subprocess.run(command, cwd=_EXAMPLE, capture_output=True, check=True, text=True).stdout
        for run in json.loads(output)["runs"]:
            rates[run["instances"]].append(run["handled_per_second"])
    names = {count: f"{count} instance{'s' * (count > 1)}" if count else "a loop without Locum" for count in rates}
    shown = {names[count]: spread(found, "orders/s") for count, found in rates.items()}
    loop = statistics.median(rates[0])
    return {
        **shown,
        **{f"{names[count]} / the loop": round(statistics.median(rates[count]) / loop, 2) for count in (1, 2, 3)},
    }
