"""F23 and F24 in threads: a plain body ends when it is asked to, or is ended with its process.

Nobody can end a thread. So one that ignores its end must hold back its successor until its process is gone, and the
journal must say why that was.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit import judges
from tests.faults.kit.processes import send, state
from tests.faults.kit.rows import now
from tests.faults.kit.runs import count, hurt
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance
    from tests.faults.kit.rows import Row

STOP_TIMEOUT = 1.0
WOULD_NOT_STOP = "was ended: a service ignored its end for longer than its stop_timeout"
IGNORES = pytest.mark.parametrize("how", ["stubborn", "blocked"])
PATIENT = pytest.mark.cluster(app="threads", environment={"FAULTS_STOP_TIMEOUT": "30"})
IMPATIENT = pytest.mark.cluster(app="threads", environment={"FAULTS_STOP_TIMEOUT": str(STOP_TIMEOUT)})


def ordered(cluster: Cluster, how: str) -> tuple[Instance, Row]:
    """Three instances, the active one, and its last row before it follows an order."""
    active = cluster.three()
    cluster.order(how)
    last = cluster.rows.last()
    assert last is not None
    return active, last


def held_back(cluster: Cluster, before: Row, asked: int) -> None:
    """Wait for the successor of a thread that would not end, and see that it had to wait."""
    after = cluster.takeover(before.token)
    assert after.at - asked > STOP_TIMEOUT * 1e9, "a successor began while the thread was still there"
    cluster.judge()


@PATIENT
@pytest.mark.parametrize("kind", ["terminated", "resigned"])
@pytest.mark.timeout(600)
def test_f24_thread_that_ends(cluster: Cluster, kind: str) -> None:
    """A thread that ends when it is asked to has its last word before the new one's first, and its process lives on."""
    for _ in range(count(50, 3)):
        found = hurt(cluster, kind, within=0.75 * cluster.ttl)
        last = cluster.rows.last_of(found.old)
        assert last is not None
        assert last.who == "end", f"the thread of token {found.old} was not ended in peace"
        assert found.gap_ms > 0
        if kind == "resigned":
            assert state(last.pid) is not None, "a thread that ends in peace must not cost its worker"
    cluster.judge()


@IMPATIENT
@IGNORES
def test_f24_thread_resigned(cluster: Cluster, how: str) -> None:
    """A thread that ignores a resignation holds its successor back until it was killed, after `stop_timeout`."""
    active, last = ordered(cluster, how)
    pids, asked = cluster.pids(active), now()
    cluster.window.ask_to_resign(cluster.service, last.token, "was asked to resign")
    held_back(cluster, last, asked)
    cluster.stand()
    assert cluster.pids(active).keeper == pids.keeper, "its keeper starts a new worker"
    assert cluster.pids(active).worker != pids.worker
    assert f"settle did not stop within {STOP_TIMEOUT:g} s" in active.text
    assert cluster.ended(last.token).why == WOULD_NOT_STOP


@IMPATIENT
@IGNORES
def test_f24_thread_terminated(cluster: Cluster, how: str) -> None:
    """So does one that ignores a stop: no longer than its own `stop_timeout`, whatever the others are given."""
    active, last = ordered(cluster, how)
    keeper, asked = cluster.pids(active).keeper, now()
    send(keeper, signal.SIGTERM)
    held_back(cluster, last, asked)
    assert active.leave(within=20) == 70, "the code of a service that would not stop"
    assert cluster.ended(last.token).why == WOULD_NOT_STOP


@pytest.mark.cluster(app="threads", ttl=3.0)
@pytest.mark.parametrize("how", ["", "stubborn", "blocked"], ids=["obedient", "stubborn", "blocked"])
def test_f23_thread_of_a_lost_term(cluster: Cluster, how: str) -> None:
    """A thread whose lease is lost is out of the way at 85 % of the TTL, whatever it does."""
    active = cluster.three()
    if how:
        cluster.order(how)
    before = cluster.rows.last()
    assert before is not None
    worker = cluster.pids(active).worker
    with cluster.store_away(active) as beat:
        until(lambda: state(worker) is None, "the end of a worker whose term is lost", within=3 * cluster.ttl)
        pass_by(cluster.ttl)
        late = judges.rows_after(cluster.rows.read(), before.token, beat + round(0.85 * cluster.ttl * 1e9))
        assert not late, "\n".join(late)
        assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
    cluster.takeover(before.token)
    cluster.stand()
    ended = cluster.ended(before.token).why
    assert "80 % of the TTL" in ended if how else "ended in time" in ended
    cluster.judge()
