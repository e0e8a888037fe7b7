"""The injuries in a row, timed: for the tests, which judge the rows, and for the benchmarks, which report the times."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.faults.kit import judges
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.processes import send
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.kit.cluster import Instance
    from tests.faults.kit.places import Place

__all__ = ["FULL", "INJURIES", "Takeover", "count", "hurt", "takeovers"]

FULL: Final = os.environ.get("LOCUM_FULL") == "1"
"""Whether the full counts are wanted."""


def count(full: int, small: int = 4, *, on: Place | None = None) -> int:
    """How often to do something; once on a server, where the full count is not wanted: there are many of them."""
    if FULL:
        return full
    return small if on is None or isinstance(on, SqliteFile) else 1


@dataclass(frozen=True, slots=True)
class Takeover:
    """One injury and what followed.

    Attributes:
        old: The token of the one that was hurt.
        new: Its successor's.
        ms: Milliseconds from the return of the signal (or request) to the successor's first row.
        gap_ms: Milliseconds from the old body's last row to that row.
    """

    old: int
    new: int
    ms: float
    gap_ms: float


def _worker_killed(cluster: Cluster, active: Instance) -> None:
    worker = cluster.pids(active).worker
    active.injuries += 1
    send(worker, signal.SIGKILL)


def _both_killed(cluster: Cluster, active: Instance) -> None:
    pids = cluster.pids(active)
    send(pids.guardian, signal.SIGKILL)
    send(pids.keeper, signal.SIGKILL)
    send(pids.worker, signal.SIGKILL)


def _keeper_killed(cluster: Cluster, active: Instance) -> None:
    send(cluster.pids(active).keeper, signal.SIGKILL)


def _terminated(cluster: Cluster, active: Instance) -> None:
    send(cluster.pids(active).keeper, signal.SIGTERM)


def _resigned(cluster: Cluster, active: Instance) -> None:
    del active
    cluster.window.ask_to_resign(cluster.service, cluster.window.grant(cluster.service).token, "was asked to resign")


INJURIES: Final[dict[str, Callable[[Cluster, Instance], None]]] = {
    "worker-killed": _worker_killed,
    "instance-killed": _both_killed,
    "keeper-killed": _keeper_killed,
    "terminated": _terminated,
    "resigned": _resigned,
}
"""What can be done to the active instance, by name."""


def hurt(cluster: Cluster, kind: str, *, within: float) -> Takeover:
    """Hurt the active one of three at a random phase, wait for its successor, and judge all rows.

    Args:
        cluster: Whose instances.
        kind: A key of `INJURIES`.
        within: Seconds for the takeover: generous, but less than the TTL where it must not take one.
    """
    cluster.renew()
    cluster.phase()
    active = cluster.stand()
    before = cluster.rows.last()
    assert before is not None
    INJURIES[kind](cluster, active)
    done = now()
    after = cluster.takeover(before.token, within=within)
    if kind == "terminated":
        assert active.leave() == 0, "a stop that was asked for is clean"
    cluster.judge()
    gap = judges.gap(cluster.rows.rows, before.token, after.token)
    return Takeover(before.token, after.token, (after.at - done) / 1e6, gap / 1e6)


def takeovers(
    kind: str, n: int, folder: Path, *, place: Place | None = None, ttl: float = 20.0, seed: int | None = None
) -> list[Takeover]:
    """Hurt the active one `n` times.

    Args:
        kind: A key of `INJURIES`.
        n: How often.
        folder: An empty folder for the rows.
        place: The store; a file in the folder if none is given.
        ttl: Seconds.
        seed: Of the random phases.

    Returns:
        The takeovers in turn; every row that was written was judged.
    """
    with Cluster(folder, place=place, ttl=ttl, seed=seed) as cluster:
        found = [hurt(cluster, kind, within=0.75 * ttl) for _ in range(n)]
        pass_by(0.2)  # a body that should be dead would write again
        cluster.judge()
    return found
