"""F30: a term is transferred to a named instance, which gets it and nobody else; or, if it does not take it, another.

The one that is named is always the last in line, so that who ignores the reservation takes its place at once.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit import judges
from tests.faults.kit.processes import send
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance
    from tests.faults.kit.rows import Row

FAREWELL = 0.5
TAKES_ITS_TIME = {"FAULTS_FAREWELL": str(FAREWELL)}


def last_in_line(cluster: Cluster) -> Instance:
    """The one that would be the last to become active."""
    active = holder(cluster)
    return cluster.by_name([name for name in cluster.window.line(cluster.service) if name != active][-1])


def newest(cluster: Cluster) -> Row:
    """The newest row of the active one."""
    row = cluster.rows.last()
    assert row is not None
    return row


def transfer(cluster: Cluster, token: int, to: Instance) -> None:
    """Ask the holder of a token to leave the service to an instance."""
    why = f"was transferred to {to.name}"
    cluster.window.ask_to_resign(cluster.service, token, why, successor=to.name)


def left_to(cluster: Cluster, to: Instance) -> bool:
    """Whether the service is vacant and reserved for an instance."""
    grant = cluster.window.grant(cluster.service)
    return grant.holder is None and grant.reserved is not None and grant.reserved.instance == to.name


def until_left(cluster: Cluster, to: Instance) -> None:
    """Wait for the release."""
    until(lambda: left_to(cluster, to), f"the service to be left to {to.name}")


def holder(cluster: Cluster) -> str:
    """Who holds the service; empty if nobody does."""
    found = cluster.window.grant(cluster.service).holder
    return found.instance if found else ""


def kill(cluster: Cluster, instance: Instance) -> None:
    """Kill all of an instance at once."""
    pids = cluster.pids(instance)
    for pid in (pids.guardian, pids.keeper, pids.worker):
        send(pid, signal.SIGKILL)


def judge(cluster: Cluster) -> None:
    """Let whoever should have ended have its last word, and judge all rows."""
    pass_by(0.2)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(environment={"FAULTS_FAREWELL": "0.03"})
@pytest.mark.timeout(1800)
def test_f30_transfer_to_the_last_in_line(cluster: Cluster) -> None:
    """It gets it, by name, and begins after the old body has had its last word."""
    for _ in range(count(100, on=cluster.place)):
        transfer_to_the_last(cluster)
    judge(cluster)


def transfer_to_the_last(cluster: Cluster) -> None:
    cluster.three()
    cluster.phase()
    to, before = last_in_line(cluster), newest(cluster)
    transfer(cluster, before.token, to)
    after = cluster.takeover(before.token, within=0.75 * cluster.ttl)
    assert holder(cluster) == to.name
    assert after.token == before.token + 1, "somebody else has held it in between"
    last = cluster.rows.last_of(before.token)
    assert last is not None
    assert last.who == "end", f"the body of token {before.token} was not ended in peace"
    assert judges.gap(cluster.rows.rows, before.token, after.token) > 0
    journal = until(lambda: cluster.window.journal(cluster.service).get(before.token), "an entry in the journal")
    assert journal.why == f"was transferred to {to.name}"


@pytest.mark.stores(thorough=True)
def test_f30_the_named_one_is_busy_for_a_while(cluster: Cluster) -> None:
    """It cannot take over at once: nobody else does either, and it gets what is its."""
    cluster.three()
    to, before = last_in_line(cluster), newest(cluster)
    worker = cluster.pids(to).worker
    send(worker, signal.SIGSTOP)
    transfer(cluster, before.token, to)
    until_left(cluster, to)
    pass_by(0.1 * cluster.ttl)
    assert left_to(cluster, to), f"{holder(cluster)} has taken what is reserved for {to.name}"
    send(worker, signal.SIGCONT)
    after = cluster.takeover(before.token, within=0.5 * cluster.ttl)
    assert (holder(cluster), after.token) == (to.name, before.token + 1)
    judge(cluster)


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(app="sleeper", ttl=3.0)
@pytest.mark.timeout(1800)
def test_f30_the_named_one_does_not_take_it(cluster: Cluster) -> None:
    """It lives and stands in line, but its loop is blocked: whoever is next takes over, after one TTL, not before."""
    for _ in range(count(10, small=1, on=cluster.place)):
        cluster.three()
        to, before = last_in_line(cluster), newest(cluster)
        cluster.order(f"block {3 * cluster.ttl}", to=to)
        transfer(cluster, before.token, to)
        after = cluster.takeover(before.token)
        assert holder(cluster) != to.name
        assert to.name in cluster.window.line(cluster.service), "it had left, so nobody had to wait for it"
        last = cluster.rows.last_of(before.token)
        assert last is not None
        assert after.at - last.at >= 1e9 * cluster.ttl, "the wait was cut short"
        pass_by(3 * cluster.ttl)
        judge(cluster)
        assert newest(cluster).token == after.token, "the late one has taken what another held"


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=1.5)
@pytest.mark.timeout(1800)
def test_f30_the_named_one_is_frozen(cluster: Cluster) -> None:
    """It can neither take it nor leave: its wait, or its session, ends, and whoever is next takes over."""
    for _ in range(count(25, small=2, on=cluster.place)):
        cluster.renew()
        cluster.phase()
        cluster.stand()
        to, before = last_in_line(cluster), newest(cluster)
        frozen = cluster.freeze(to)
        session = cluster.window.sessions()[to.name].id
        transfer(cluster, before.token, to)
        after = cluster.takeover(before.token)
        last = cluster.rows.last_of(before.token)
        assert last is not None
        waited = after.at - last.at >= 1e9 * cluster.ttl
        assert waited or cluster.window.session(session).is_closed, "neither was the wait over, nor the session"
        pass_by(2 * cluster.ttl)
        cluster.resume(frozen)
        cluster.stand()
        judge(cluster)
        assert newest(cluster).token == after.token, "the late one has taken what another held"


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(environment=TAKES_ITS_TIME)
@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.timeout(1800)
def test_f30_the_named_one_ends_before_the_release(cluster: Cluster, end: str) -> None:
    """The request is followed already when it ends: it is not waited for, and whoever is next takes over.

    One that stops may still be in line at the release: then it takes over, as it was asked to, and gives it up again.
    """
    for _ in range(count(25, small=2, on=cluster.place)):
        cluster.renew()
        cluster.stand()
        to, before = last_in_line(cluster), newest(cluster)
        transfer(cluster, before.token, to)
        until(lambda: quiet(cluster), "the body to be ended", pause=0.02)
        assert holder(cluster), "it was released before the body had ended"
        if end == "killed":
            kill(cluster, to)
        else:
            send(cluster.pids(to).keeper, signal.SIGTERM)
        cluster.takeover(before.token, within=0.75 * cluster.ttl)
        if end == "stopped":
            assert to.leave() == 0
        assert cluster.stand() is not to
    judge(cluster)


def quiet(cluster: Cluster) -> bool:
    """Whether the body has stopped to write, which it does every millisecond."""
    before = len(cluster.rows.rows)
    pass_by(0.1)
    cluster.rows.read()
    return len(cluster.rows.rows) == before


@pytest.mark.stores(thorough=True)
@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.timeout(1800)
def test_f30_the_named_one_ends_after_the_release(cluster: Cluster, end: str) -> None:
    """The service is left to it, and it ends before it has taken it: whoever is next need not wait any longer."""
    for _ in range(count(25, small=2, on=cluster.place)):
        cluster.renew()
        cluster.stand()
        to, before = last_in_line(cluster), newest(cluster)
        frozen = cluster.freeze(to)
        transfer(cluster, before.token, to)
        until_left(cluster, to)
        pass_by(0.2)
        assert left_to(cluster, to), f"{holder(cluster)} has taken what is reserved for {to.name}"
        if end == "killed":
            for pid in frozen:
                send(pid, signal.SIGKILL)
        else:
            send(cluster.pids(to).keeper, signal.SIGTERM)
            cluster.resume(frozen)  # it goes on, and finds that it is to take over and to stop
        cluster.takeover(before.token, within=0.75 * cluster.ttl)
        if end == "stopped":
            assert to.leave() == 0
        assert cluster.stand() is not to
    judge(cluster)
