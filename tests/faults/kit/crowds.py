"""Many who wait: how often the store is asked until the next of them works, as the server counts it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.faults.kit.cluster import Cluster
from tests.faults.kit.processes import send
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.kit.places import ServerPlace

__all__ = ["calls_until_the_next"]

PROCESSES: Final = 4


def calls_until_the_next(folder: Path, place: ServerPlace, *, waiting: int) -> int:
    """Kill the active one, and count the server's requests until another one works."""
    (own := folder / str(waiting)).mkdir()
    barrier = own / "barrier"
    barrier.touch()
    with Cluster(own, place=place, app="candidates", environment={"FAULTS_BARRIER": str(barrier)}) as cluster:
        active = cluster.start(by_itself=True, below=("env", "FAULTS_CANDIDATES=1"))
        until(cluster.rows.last, "somebody to work")
        for _ in range(PROCESSES):
            cluster.start(by_itself=True, below=("env", f"FAULTS_CANDIDATES={waiting // PROCESSES}"))
        until(lambda: len(cluster.window.line(cluster.service)) == waiting + 1, "everyone to stand in line", within=300)
        until(lambda: _is_quiet(place), "all to have found that it is not their turn", within=300)
        before, pids = cluster.last_row(), cluster.pids(active)
        asked = place.calls()
        for pid in (pids.guardian, pids.keeper, pids.worker):
            send(pid, signal.SIGKILL)
        cluster.takeover(before.token, within=0.75 * cluster.ttl)
        found = place.calls() - asked
        cluster.judge()
        return found


def _is_quiet(place: ServerPlace) -> bool:
    """Whether nobody asks for anything but what each process does now and then, however many wait in it."""
    asked = place.calls()
    pass_by(1.0)
    return place.calls() - asked < 2 * PROCESSES * place.requests
