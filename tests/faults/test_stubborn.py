"""F23, F24: bodies that ignore their cancellation, when the lease is lost and when the end is asked for.

A lost term is bounded by its lease, whatever the body does; a planned end by `stop_timeout`, and the session beats on.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.faults.kit import judges
from tests.faults.kit.processes import send
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance
    from tests.faults.kit.rows import Row

STOP_TIMEOUT = 2.5
PATIENT = pytest.mark.cluster(ttl=1.5, environment={"FAULTS_STOP_TIMEOUT": str(STOP_TIMEOUT)})
WOULD_NOT_STOP = "was ended: a service ignored its end for longer than its stop_timeout"


def stubborn_one(cluster: Cluster) -> tuple[Instance, Row]:
    """The active one of three, whose body ignores its end from now on, and a row of it."""
    active = cluster.three()
    before = cluster.rows.last()
    assert before is not None
    cluster.order("stubborn")
    cluster.last_beat(active)
    return active, before


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=3.0)
def test_f23_lost_lease(cluster: Cluster) -> None:
    """Cancelled at 60 % of the TTL and there at 80 %: ended by its keeper, behind which the kernel stands at 85 %.

    Counted from the last beat that was answered, whose number is the instant of its sending. Who must run to kill or to
    die may be a little late; nobody else may begin before 100 %.
    """
    active, before = stubborn_one(cluster)
    pids = cluster.pids(active)
    with cluster.store_away(active) as beat:
        pass_by(1.5 * cluster.ttl)
        late = judges.rows_after(cluster.rows.read(), before.token, beat + round(0.9 * cluster.ttl * 1e9))
        assert not late, "\n".join(late)
        last = cluster.rows.last_of(before.token)
        assert last is not None
        assert last.at > beat + 0.65e9 * cluster.ttl, "it did not ignore its cancellation"
        assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
    cluster.takeover(before.token)
    cluster.stand()
    after = cluster.pids(active)
    assert after.keeper == pids.keeper, "the keeper was ended, and not only its worker"
    assert after.worker != pids.worker
    cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=3.0, environment={"FAULTS_STOP_TIMEOUT": "1"})
def test_f23_lost_lease_and_the_store_is_back_at_once(cluster: Cluster) -> None:
    """Cancelled at 60 %, and then beats are answered again: the lease lives on, and the term must end all the same."""
    active, before = stubborn_one(cluster)
    with cluster.place.away():
        until(lambda: "its work is cancelled" in active.text, "the cancellation at 60 % of the TTL")
    cluster.takeover(before.token)
    cluster.stand()
    cluster.judge()


@pytest.mark.stores(thorough=True)
@PATIENT
def test_f24_resigned(cluster: Cluster) -> None:
    """The body has its `stop_timeout`, longer than a TTL; then its worker ends, and the keeper starts another."""
    active, before = stubborn_one(cluster)
    pids = cluster.pids(active)
    asked_at = now()
    cluster.window.ask_to_resign(cluster.service, before.token, "was asked to resign")
    after = cluster.takeover(before.token)
    assert after.at - asked_at > STOP_TIMEOUT * 1e9, "the body was not given its time"
    last = cluster.rows.last_of(before.token)
    assert last is not None
    assert last.at - asked_at > 0.8e9 * STOP_TIMEOUT, "it did not ignore its cancellation"
    cluster.stand()
    assert cluster.pids(active).keeper == pids.keeper
    assert cluster.pids(active).worker != pids.worker
    ended = cluster.ended(before.token)
    assert (ended.instance, ended.why) == (active.name, WOULD_NOT_STOP)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@PATIENT
def test_f24_terminated(cluster: Cluster) -> None:
    active, before = stubborn_one(cluster)
    asked_at = now()
    send(cluster.pids(active).keeper, signal.SIGTERM)
    after = cluster.takeover(before.token)
    assert after.at - asked_at > STOP_TIMEOUT * 1e9, "the body was not given its time"
    assert active.leave() == exit_codes.WOULD_NOT_STOP
    ended = cluster.ended(before.token)
    assert (ended.instance, ended.why) == (active.name, WOULD_NOT_STOP)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@PATIENT
def test_f24_terminated_by_force(cluster: Cluster) -> None:
    """Who asks a third time does not wait: the second signal cancels, and this body ignores that too."""
    active, before = stubborn_one(cluster)
    keeper = cluster.pids(active).keeper
    send(keeper, signal.SIGTERM)
    until(lambda: "stops." in active.text, "the first signal to be heard")
    send(keeper, signal.SIGTERM)
    until(lambda: "a second time" in active.text, "the second signal to be heard")
    assert cluster.stand() is active, "twice is not by force"
    send(keeper, signal.SIGTERM)
    cluster.takeover(before.token)
    assert active.leave() == exit_codes.forced_by(signal.SIGTERM)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@PATIENT
def test_f24_background_body(cluster: Cluster) -> None:
    """It holds nothing, and the others are active or next; its instance leaves as any that would not stop."""
    cluster.three()
    passive = next(instance for instance in cluster.alive() if instance is not cluster.stand())
    cluster.order("stubborn", to=passive)
    send(cluster.pids(passive).keeper, signal.SIGTERM)
    assert passive.leave() == exit_codes.WOULD_NOT_STOP
    assert "pulse did not stop within" in passive.text
    assert "settle did not stop" not in passive.text
    cluster.stand()
    cluster.judge()
