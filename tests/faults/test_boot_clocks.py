"""F26, first half: instances whose boot clocks differ, in time namespaces; they observe each other (R8, R9, R29)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import NEEDS_UNSHARE, time_namespace
from tests.faults.kit.processes import send
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance

HOUR, MONTH = 3600, 30 * 86400
pytestmark = [NEEDS_UNSHARE, pytest.mark.cluster(ttl=1.5)]


def active_ahead(cluster: Cluster) -> Instance:
    """An active instance a month ahead, and two that stand by: one by the machine's own clock, one an hour ahead."""
    active = cluster.start(below=time_namespace(MONTH))
    assert cluster.stand() is active
    cluster.start()
    cluster.start(below=time_namespace(HOUR))
    assert cluster.stand() is active
    keys = {owner.key for owner in cluster.window.owners().values()}
    assert len(keys) == 3, "this test wants three time namespaces"
    assert len({(key.boot, key.pid_namespace) for key in keys}) == 1, "and nothing else that differs"
    return active


def test_f26_nobody_is_declared_dead(cluster: Cluster) -> None:
    """A process starts at another instant there: whoever compared that would take the living for dead."""
    active = active_ahead(cluster)
    sessions = {name: status.id for name, status in cluster.window.sessions().items()}
    pass_by(4 * cluster.ttl)
    assert {name: status.id for name, status in cluster.window.sessions().items()} == sessions
    assert cluster.window.journal(cluster.service) == {}
    assert cluster.stand() is active
    cluster.judge()


def test_f26_a_death_is_observed(cluster: Cluster) -> None:
    """Nobody can witness it, and each waits for a whole TTL of its own clock."""
    active = active_ahead(cluster)
    pids = cluster.pids(active)
    for pid in (pids.guardian, pids.keeper, pids.worker):
        send(pid, signal.SIGKILL)
    cluster.rows.read()
    before = cluster.rows.last()
    assert before is not None
    after = cluster.takeover(before.token)
    cluster.judge()
    assert after.at - before.at > cluster.ttl * 1e9 / 2, "it was not waited for"
    until(lambda: before.token in cluster.window.journal(cluster.service), "an entry in the journal")
    ended = cluster.window.journal(cluster.service)[before.token]
    assert ended.why.startswith("fell silent for"), ended
    assert "gone" not in ended.why, f"{ended} speaks of processes that it cannot know"
