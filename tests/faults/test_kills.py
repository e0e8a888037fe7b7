"""F01 to F03: the active one is killed in parts or as a whole, and another is active without waiting for a TTL.

The TTL is long, and the bound on a takeover well below it: who waits for a TTL fails.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.processes import send, state
from tests.faults.kit.runs import count, takeovers
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.kit.cluster import Cluster
    from tests.faults.kit.places import Place


@pytest.mark.stores
@pytest.mark.timeout(1800)
def test_f01_worker_killed(tmp_path: Path, place: Place) -> None:
    many = count(100, on=place)
    assert len(takeovers("worker-killed", many, tmp_path, place=place)) == many


@pytest.mark.stores(thorough=True)
@pytest.mark.timeout(1800)
def test_f02_keeper_and_worker_killed(tmp_path: Path, place: Place) -> None:
    many = count(100, on=place)
    assert len(takeovers("instance-killed", many, tmp_path, place=place)) == many


@pytest.mark.stores(thorough=True)
@pytest.mark.timeout(1800)
def test_f03_keeper_killed(tmp_path: Path, place: Place) -> None:
    many = count(100, on=place)
    assert len(takeovers("keeper-killed", many, tmp_path, place=place)) == many


@pytest.mark.stores(thorough=True)
def test_f03_keeper_killed_while_the_loop_is_blocked(cluster: Cluster) -> None:
    """The worker can do nothing about its keeper's end, and no guardian is left that could: the kernel must."""
    active = cluster.three()
    before = cluster.rows.last()
    assert before is not None
    cluster.order("spin")
    pids = cluster.pids(active)
    send(pids.guardian, signal.SIGKILL)
    send(pids.keeper, signal.SIGKILL)
    until(lambda: state(pids.worker) in (None, "Z", "X"), "the end of a worker without keeper", within=10)
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    cluster.judge()
