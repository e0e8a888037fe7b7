"""F10 and F11: PID 1 of a pid namespace, and neighbours in different pid namespaces.

The instances in a namespace have a /proc of their own, as containers have.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.processes import children, descendants, inner_pid, send, state
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance

pytestmark = NEEDS_UNSHARE


def start_as_pid_1(cluster: Cluster) -> Instance:
    """An instance whose keeper starts as PID 1 of a pid namespace."""
    return cluster.start(below=PID_NAMESPACE)


def active_as_pid_1(cluster: Cluster) -> Instance:
    """An active instance in a pid namespace, and two that stand by: one outside, one in another namespace."""
    inside = start_as_pid_1(cluster)
    assert cluster.stand() is inside
    cluster.start()
    start_as_pid_1(cluster)
    assert cluster.stand() is inside
    return inside


def init_of(instance: Instance) -> int:
    """Its PID 1."""
    return next(pid for pid in descendants(instance.process.pid) if inner_pid(pid) == 1)


def test_f10_worker_of_pid_1_killed(cluster: Cluster) -> None:
    active = active_as_pid_1(cluster)
    before = cluster.rows.last()
    assert before is not None
    send(cluster.pids(active).worker, signal.SIGKILL)
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    cluster.judge()
    assert active.name in {instance.name for instance in cluster.alive()}, "its keeper starts a new worker"
    assert cluster.stand() is not active


@pytest.mark.cluster(app="parent", environment={"FAULTS_CHILDREN": "subprocess session"})
def test_f10_strays_are_reaped(cluster: Cluster) -> None:
    """Strays that end, and strays that a dead worker leaves: nothing is left, not even a zombie."""
    inside = start_as_pid_1(cluster)
    cluster.stand()
    worker = cluster.pids(inside).worker
    until(lambda: "session" in {row.who for row in cluster.rows.read()}, "a row of the grandchild")
    strays = descendants(worker)
    assert len(strays) >= 3
    send(next(pid for pid in strays if children(pid)), signal.SIGKILL)  # its own child is adopted, and lives
    send(worker, signal.SIGKILL)
    until(lambda: all(state(pid) is None for pid in [worker, *strays]), "the end of all strays, and their burial")
    assert cluster.stand() is inside
    cluster.judge()


@pytest.mark.cluster(ttl=1.5)
@pytest.mark.parametrize("spinning", [False, True], ids=["loop-turns", "loop-blocked"])
def test_f10_pid_1_frozen(cluster: Cluster, spinning: bool) -> None:
    """Frozen as a whole, its PID 1 too; the kernel ends the keeper all the same, for that is not PID 1."""
    active = active_as_pid_1(cluster)
    before = cluster.rows.last()
    assert before is not None
    if spinning:
        cluster.order("spin")
    frozen = [init_of(active), *cluster.freeze(active)]
    send(frozen[0], signal.SIGSTOP)
    pass_by(3 * cluster.ttl)
    cluster.resume(frozen)
    cluster.takeover(before.token)
    pass_by(0.3)
    cluster.judge()
    assert active.leave() == 128 + signal.SIGKILL, "init leaves with its keeper's end"


def test_f10_pid_1_is_told_to_stop(cluster: Cluster) -> None:
    active = active_as_pid_1(cluster)
    before = cluster.rows.last()
    assert before is not None
    send(init_of(active), signal.SIGTERM)
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    assert active.leave() == 0
    last = cluster.rows.last_of(before.token)
    assert last is not None
    assert last.who == "end"
    cluster.judge()


@pytest.mark.cluster(ttl=2.0)
def test_f14_two_deaths_cost_one_ttl(cluster: Cluster) -> None:
    """The active one and the next in line die together, and nobody can witness it: both are waited for at once (R8)."""
    instances = [start_as_pid_1(cluster) for _ in range(3)]
    active = cluster.stand()
    line = cluster.window.line(cluster.service)
    following = next(cluster.by_name(name) for name in line if name != active.name)
    before = cluster.rows.last()
    assert before is not None
    for instance in (active, following):
        send(init_of(instance), signal.SIGKILL)
    injured = now()
    after = cluster.takeover(before.token)
    waited = (after.at - injured) / 1e9 / cluster.ttl
    assert 0.8 < waited < 1.9, f"two deaths cost {waited:.2f} TTL"
    assert [one for one in instances if one.is_alive] == cluster.alive()
    assert cluster.stand() not in (active, following)
    cluster.judge()


@pytest.mark.cluster(ttl=1.0)
def test_f11_neighbours_in_two_namespaces(cluster: Cluster) -> None:
    """The pids of one mean nothing to the other, or somebody else: both see only beats, and nobody is declared dead."""
    first = start_as_pid_1(cluster)
    active = cluster.stand()
    second = start_as_pid_1(cluster)  # only now: the same pids, but another start
    assert cluster.stand() is active
    owners = cluster.window.owners()
    assert owners[first.name].keeper.pid == owners[second.name].keeper.pid, "this test wants the same pids in both"
    sessions = {name: status.id for name, status in cluster.window.sessions().items()}
    before = cluster.rows.last()
    assert before is not None
    pass_by(5 * cluster.ttl)
    assert {name: status.id for name, status in cluster.window.sessions().items()} == sessions
    assert cluster.window.journal(cluster.service) == {}
    assert cluster.stand() is active
    last = cluster.rows.last()
    assert last is not None
    assert (last.pid, last.token) == (before.pid, before.token)
    cluster.judge()
