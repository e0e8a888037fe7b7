"""F20, F21: one process of the active instance is stopped alone for three TTLs, and then goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.faults.kit import judges
from tests.faults.kit.processes import descendants, send, state
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster

CHILDREN = "subprocess group session"


def stop(pid: int) -> int:
    """Stop one process; an instant at which it is stopped."""
    send(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T", f"the stop of {pid}")
    return now()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=3.0)
def test_f20_only_the_worker_is_frozen(cluster: Cluster) -> None:
    """Its keeper runs on: it must not beat for what is stopped (R10), and ends it at 80 % of the TTL (R6)."""
    active = cluster.three()
    pids = cluster.pids(active)
    before = cluster.rows.last()
    assert before is not None
    session = cluster.window.sessions()[active.name].id
    cluster.order("spin")  # a body that looks at nothing would write on as soon as it may run again
    stopped_at = stop(pids.worker)
    cluster.takeover(before.token, within=3 * cluster.ttl)
    last = cluster.window.session(session)
    assert not last.is_open
    assert last.beat is None or last.beat <= stopped_at, "the keeper has beaten for a stopped worker"
    pass_by(3 * cluster.ttl - (now() - stopped_at) / 1e9)
    assert not send(pids.worker, signal.SIGCONT), "the stopped worker is still there"
    cluster.stand()
    after = cluster.pids(active)
    assert after.keeper == pids.keeper, "the keeper was ended, and not only its worker"
    assert after.worker != pids.worker
    ended = cluster.ended(before.token)
    assert ended.why == "was ended at its deadline: a body still ran at 80 % of the TTL", ended
    cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("spinning", marks=pytest.mark.cluster(ttl=2.0)),
        pytest.param(
            "parent", marks=pytest.mark.cluster(app="parent", ttl=2.0, environment={"FAULTS_CHILDREN": CHILDREN})
        ),
    ],
)
def test_f21_only_the_keeper_is_frozen(cluster: Cluster, kind: str) -> None:
    """The worker runs on and nobody beats for it: the kernel ends the keeper at 85 %, and the worker with it (R6).

    What the worker leaves behind, its guardian ends, which then leaves with the code of a process that was killed.
    """
    active = cluster.three()
    pids = cluster.pids(active)
    before = cluster.rows.last()
    assert before is not None
    if kind == "spinning":
        cluster.order("spin")
    else:
        cluster.all_write("fork", *CHILDREN.split())
    cluster.last_beat(active)
    everyone = descendants(pids.guardian)
    stopped_at = stop(pids.keeper)
    beat = cluster.last_beat(active)
    cluster.takeover(before.token)
    pass_by(3 * cluster.ttl - (now() - stopped_at) / 1e9)
    assert not send(pids.keeper, signal.SIGCONT), "the frozen keeper is still there"
    assert active.leave() == exit_codes.forced_by(signal.SIGKILL) == 137
    assert [pid for pid in everyone if state(pid) is not None] == [], "something of the instance is left"
    cluster.judge()
    # the kernel is exact, and whoever must run to die is not; nobody else may begin before 100 %
    late = judges.rows_after(cluster.rows.rows, before.token, beat + round(0.95 * cluster.ttl * 1e9))
    assert not late, "\n".join(late)
    assert cluster.ended(before.token).instance == active.name


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=2.0)
def test_f21_only_the_guardian_is_frozen(cluster: Cluster) -> None:
    """It only looks after what is left at the end: nothing may happen to the term, nor to the end that is asked for."""
    active = cluster.three()
    pids = cluster.pids(active)
    before = cluster.rows.last()
    assert before is not None
    stop(pids.guardian)
    pass_by(3 * cluster.ttl)
    last = cluster.rows.last()
    assert last is not None
    assert (last.token, last.pid) == (before.token, before.pid)
    send(pids.guardian, signal.SIGTERM)
    send(pids.guardian, signal.SIGCONT)
    cluster.takeover(before.token)
    assert active.leave() == exit_codes.CLEAN
    cluster.judge()
