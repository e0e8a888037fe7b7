"""F22, and beyond: a held interpreter keeps its term; a loop that hangs for `hang_timeout` costs its worker.

What was stopped has not hung: it has its chance to turn after it goes on.
"""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.processes import send, state
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster

HANG_TIMEOUT = 3.0
HANGING = pytest.mark.cluster(ttl=2.0, environment={"FAULTS_HANG_TIMEOUT": str(HANG_TIMEOUT)})


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=2.0)
def test_f22_interpreter_is_held(cluster: Cluster) -> None:
    """A C call of two TTLs: nothing of the worker's can run, and it keeps its term, for its keeper beats on (R6)."""
    active = cluster.three()
    pids = cluster.pids(active)
    before = cluster.rows.last()
    assert before is not None
    held = 2 * cluster.ttl
    cluster.order(f"hold {held}")
    until(lambda: "in hold_the_interpreter" in active.text, "a warning of the loop, with the stack")
    assert "has not turned" in active.text
    pass_by(held)
    cluster.rows.read()
    silence = max(later.at - row.at for row, later in pairwise(cluster.rows.rows))
    assert silence > 0.9e9 * held, "the interpreter was not held: a thread wrote"
    assert cluster.stand() is active
    assert cluster.pids(active) == pids
    assert {row.token for row in cluster.rows.rows} == {before.token}, "it has lost its term"
    assert active.text.count("has not turned") == 1
    cluster.judge()


@HANGING
def test_hang_costs_the_worker(cluster: Cluster) -> None:
    """Told of after a TTL, ended after `hang_timeout`; another takes over at once, and its keeper starts it again."""
    active = cluster.three()
    pids = cluster.pids(active)
    before = cluster.rows.last()
    assert before is not None
    cluster.order("block 3600")
    cluster.takeover(before.token)
    ended = cluster.ended(before.token)
    assert ended.why.startswith("was ended: its event loop had not turned for 3."), ended
    assert active.text.index("in block_the_loop") < active.text.index(ended.why), "its stacks come before its end"
    assert cluster.stand() is not active
    after = cluster.pids(active)
    assert after.keeper == pids.keeper
    assert after.worker != pids.worker
    cluster.judge()


@HANGING
def test_hang_of_a_passive_one_and_without_the_store(cluster: Cluster) -> None:
    """Nothing exclusive runs in it and no beat is answered: what hangs works no better for that."""
    cluster.three()
    passive = next(instance for instance in cluster.alive() if instance is not cluster.stand())
    worker = cluster.pids(passive).worker
    with cluster.place.away():
        cluster.order("block 3600", to=passive)
        until(lambda: state(worker) is None, "the end of the worker that hangs")
    assert "its event loop had not turned for 3." in passive.text
    cluster.stand()
    cluster.judge()


@HANGING
def test_hang_is_not_what_was_stopped(cluster: Cluster) -> None:
    """One worker alone, and one whole instance: after longer than `hang_timeout` both go on as they are."""
    active = cluster.three()
    worker_only, whole = (instance for instance in cluster.alive() if instance is not active)
    pids = {instance.name: cluster.pids(instance) for instance in (worker_only, whole)}
    send(pids[worker_only.name].worker, signal.SIGSTOP)
    frozen = cluster.freeze(whole)
    pass_by(1.5 * HANG_TIMEOUT)
    cluster.resume(frozen)
    send(pids[worker_only.name].worker, signal.SIGCONT)
    pass_by(cluster.ttl)
    cluster.stand()
    for instance in (worker_only, whole):
        assert cluster.pids(instance) == pids[instance.name]
        assert "has not turned" not in instance.text
    cluster.judge()
