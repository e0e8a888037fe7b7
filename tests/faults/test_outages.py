"""F15: the store cannot be written to for three TTLs.

Of a file another process holds both locks: reading still works, as it does on a full disk, and nobody may take that for
life. A server is stopped where it is: it takes what it is sent, and answers all of that when it goes on.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit import judges, processes
from tests.faults.kit.rows import RowFile
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance

TTL = pytest.mark.cluster(ttl=3.0)


def pulses(cluster: Cluster, instance: Instance) -> RowFile:
    """The rows of an instance's background body."""
    found = RowFile(cluster.rows.path.with_name(f"{cluster.rows.path.name}-{instance.name}"))
    found.read()
    return found


@pytest.mark.stores(thorough=True)
@TTL
def test_f15_background_goes_on(cluster: Cluster) -> None:
    """Where no term runs nothing is killed, and background work does not even notice."""
    active = cluster.three()
    others = [instance for instance in cluster.alive() if instance is not active]
    pids = {instance.name: cluster.pids(instance) for instance in others}
    with cluster.place.away():
        begun = {instance.name: len(pulses(cluster, instance).rows) for instance in others}
        pass_by(3 * cluster.ttl)
        for instance in others:
            rows = pulses(cluster, instance).rows[begun[instance.name] :]
            assert {row.pid for row in rows} == {pids[instance.name].worker}
            assert len(rows) > 3 * cluster.ttl / 0.01 / 4, f"the background work of {instance.name} has faltered"
    cluster.stand()
    assert {instance.name: cluster.pids(instance) for instance in others} == pids
    cluster.judge()


@pytest.mark.stores(thorough=True)
@TTL
@pytest.mark.parametrize("how", ["", "spin"], ids=["obedient", "loop-blocked"])
def test_f15_lost_term(cluster: Cluster, how: str) -> None:
    """The worker of a lost term is ended by its keeper, which lives, and a new one stands in line.

    A body that ends when it is told to has nothing left that could overlap: its worker may stay.
    Counted from the last beat that was answered, whose number is the instant of its sending: 80 % for the keeper, which
    a machine under load may let wait a little, 85 % for the kernel, which does not wait.
    """
    active = cluster.three()
    before = cluster.rows.last()
    assert before is not None
    if how:
        cluster.order(how)
    keeper = cluster.pids(active).keeper
    with cluster.store_away(active) as beat:
        pass_by(3 * cluster.ttl)
        late = judges.rows_after(cluster.rows.read(), before.token, beat + round(0.85 * cluster.ttl * 1e9))
        assert not late, "\n".join(late)
        assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
    cluster.takeover(before.token)
    cluster.stand()
    assert cluster.pids(active).keeper == keeper, "the keeper was ended, not only its worker"
    if how:
        assert cluster.pids(active).worker != before.pid, "a body that did not end has kept its worker"
    cluster.judge()


@pytest.mark.stores(thorough=True)
@TTL
def test_f15_a_stop_is_heard_while_a_lost_session_waits_to_be_closed(cluster: Cluster) -> None:
    """The worker of a lost term has ended, and its keeper can close nothing: it stops all the same when told to."""
    active = cluster.three()
    worker = cluster.pids(active).worker
    with cluster.place.away():
        until(lambda: processes.state(worker) is None, "the end of the worker whose term is lost")
        active.process.send_signal(signal.SIGTERM)
        assert active.leave() == 0, active.text
    cluster.stand()
    cluster.judge()
