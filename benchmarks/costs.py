"""What an instance costs while nothing happens, and what importing costs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, report
from benchmarks.figures import spread
from locum import Host, Stopping
from tests.faults.kit.cluster import Cluster, Pids
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from benchmarks.options import Options

__all__ = ["measure"]

_TICKS = os.sysconf("SC_CLK_TCK")
_TTL = 6.0


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For what the subjects write.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    place = folder / "idle"
    place.mkdir()
    n = max(5, options.n // 2)
    found = {"imports": imports(n), "hosts": hosts(folder, n), "idle": idle(place, seconds=options.idle)}
    report.show_machine(machine.describe(facts))
    report.show_costs("imports", found["imports"])
    report.show_costs("a host of 100 services (wanted: at most 200 ms)", found["hosts"])
    report.show_costs("idle, TTL 6 s", found["idle"])
    results = {"family": "costs", "machine": facts, **found}
    return [report.keep(results, options.out / "costs.json")], True


def imports(n: int) -> dict[str, Any]:
    """The time of `import locum`, of its face with `Host`, and of `import asyncio`, in turn, in fresh processes."""
    statements = {
        "locum": "import locum",
        "locum, with Host and Term loaded": "from locum import Host, Term",
        "asyncio": "import asyncio",
    }
    found: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(n):
        for name, statement in statements.items():
            code = f"import time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1000)"
            output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
            found[name].append(float(output))
    figures = {name: spread(values, "ms") for name, values in found.items()}
    ratio = figures["locum, with Host and Term loaded"].p50 / figures["asyncio"].p50
    return {**figures, "Host and Term / asyncio": round(ratio, 2)}


def hosts(folder: Path, n: int) -> dict[str, Any]:
    """The time of the start and of the stop of a host of 100 trivial services, less that of a host of one, in turn."""
    found: dict[str, list[float]] = {"start": [], "stop": [], "both": []}
    for turn in range(n):
        one, many = (asyncio.run(_start_and_stop(folder / f"{turn}-{count}.db", count)) for count in (1, 100))
        for name, value in zip(found, (many[0] - one[0], many[1] - one[1], sum(many) - sum(one)), strict=True):
            found[name].append(value)
    return {f"{name} of 100 services, beyond one": spread(values, "ms") for name, values in found.items()}


async def _start_and_stop(database: Path, count: int) -> tuple[float, float]:
    """Milliseconds of the start and of the stop, in this process."""
    host = Host("many", store=f"sqlite:///{database}")

    async def trivial(stopping: Stopping) -> None:
        await stopping.sleep(3600)

    for number in range(count):
        host.background(name=f"service-{number}")(trivial)
    begun = time.perf_counter()
    async with host.lifespan():
        started = time.perf_counter()
    return (started - begun) * 1000, (time.perf_counter() - started) * 1000


def idle(folder: Path, *, seconds: float) -> dict[str, Any]:
    """Processor time, memory and store writes of three instances that only stand by or hold; TTL 6 s."""
    silence = contextlib.redirect_stdout(io.StringIO())  # a cluster tells at its end what was said
    with silence, Cluster(folder, app="quiet", ttl=_TTL) as cluster:
        instances = [cluster.start() for _ in range(3)]
        until(lambda: len(cluster.window.owners()) == 3, "three sessions")
        pids = [cluster.pids(instance) for instance in instances]
        time.sleep(2.0)
        before, revision = _cpu(pids), _revision(cluster.database)
        begun = time.monotonic()
        beats = _count_beats(cluster.database, seconds)
        elapsed = time.monotonic() - begun
        cpu = [(after - earlier) / elapsed * 100 for after, earlier in zip(_cpu(pids), before, strict=True)]
        writes = _revision(cluster.database) - revision
        return {
            "processor of an instance (keeper + worker)": spread(cpu, "% of a core"),
            "memory of a keeper": spread([_resident(pid.keeper) for pid in pids], "MiB"),
            "memory of a worker": spread([_resident(pid.worker) for pid in pids], "MiB"),
            "beats an instance and second": round(beats / len(pids) / elapsed, 2),
            "store writes a beat": round((beats + writes) / beats, 3),
            "seconds": round(elapsed, 1),
        }


def _count_beats(database: Path, seconds: float) -> int:
    """How many beats are written in so many seconds: each is seen, for the file is looked at far more often."""
    end, seen = time.monotonic() + seconds, set(_beats(database).items())
    known = len(seen)
    while time.monotonic() < end:
        time.sleep(0.1)
        seen |= set(_beats(database).items())
    return len(seen) - known


def _cpu(pids: list[Pids]) -> list[float]:
    """Processor seconds used so far by each instance."""
    return [_process_seconds(pid.keeper) + _process_seconds(pid.worker) for pid in pids]


def _process_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _beats(database: Path) -> dict[str, int]:
    return dict(_query(database, "SELECT id, beat FROM locum_sessions WHERE NOT closed"))


def _revision(database: Path) -> int:
    return int(_query(database, "SELECT revision FROM locum_store")[0][0])


def _query(database: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()
