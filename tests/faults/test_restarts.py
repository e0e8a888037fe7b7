"""F14: all are dead, and one starts later: where it can see their death it is active at once, elsewhere it observes.

Another boot cannot be had here: it is simulated by rewriting the boot id in the sessions that the dead have left.
"""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.processes import send
from tests.faults.kit.rows import now
from tests.faults.kit.runs import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.kit.cluster import Cluster
    from tests.faults.kit.rows import Row

LONG_TTL = pytest.mark.cluster(ttl=6.0)
OBSERVED_TTL = pytest.mark.cluster(ttl=3.0)


def kill_all(cluster: Cluster) -> Row:
    """Kill all keepers and workers at once; the last row that was written."""
    cluster.three()
    everyone = [cluster.pids(instance) for instance in cluster.alive()]
    for pids in everyone:
        send(pids.keeper, signal.SIGSTOP)  # or the last one may yet close what the first one leaves
    for pids in everyone:
        send(pids.keeper, signal.SIGKILL)
        send(pids.worker, signal.SIGKILL)
    for instance in list(cluster.alive()):
        instance.leave()
    last = cluster.rows.last()
    assert last is not None
    assert len(cluster.window.sessions()) == 3, "nobody was left to close the sessions"
    return last


def first_row_of_newcomer(cluster: Cluster, last: Row, *, below: Sequence[str] = ()) -> int:
    """Start one; nanoseconds from its start to its first row."""
    begun = now()
    cluster.start(below=below)
    found = cluster.takeover(last.token, within=4 * cluster.ttl).at - begun
    cluster.judge()
    return found


@LONG_TTL
@pytest.mark.timeout(1800)
def test_f14_same_boot(cluster: Cluster) -> None:
    for _ in range(count(10, small=2)):
        last = kill_all(cluster)
        assert first_row_of_newcomer(cluster, last) < cluster.ttl * 1e9, "it saw that they are dead, and waited"


@OBSERVED_TTL
def test_f14_another_boot(cluster: Cluster) -> None:
    last = kill_all(cluster)
    with closing(sqlite3.connect(cluster.database, isolation_level=None)) as connection:
        for session, owner in connection.execute("SELECT id, owner FROM locum_sessions WHERE NOT closed").fetchall():
            told = json.loads(owner)
            told["key"]["boot"] = "00000000-0000-0000-0000-000000000000"
            connection.execute("UPDATE locum_sessions SET owner = ? WHERE id = ?", (json.dumps(told).encode(), session))
    assert first_row_of_newcomer(cluster, last) >= cluster.ttl * 1e9, "it did not observe for a whole TTL"


@NEEDS_UNSHARE
@OBSERVED_TTL
def test_f14_another_pid_namespace(cluster: Cluster) -> None:
    last = kill_all(cluster)
    observed = first_row_of_newcomer(cluster, last, below=PID_NAMESPACE)
    assert observed >= cluster.ttl * 1e9, "it did not observe for a whole TTL"
