"""F34: the next in line has lost its session, and it is its turn: it stands in line again, and does not begin.

The orders that a process cannot be brought into at will are in tests/unit/coordination/test_dead_candidates.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance


def next_one(cluster: Cluster) -> Instance:
    """Who stands right behind the active one of three."""
    active = cluster.three()
    return cluster.by_name(next(name for name in cluster.window.line(cluster.service) if name != active.name))


def resign(cluster: Cluster) -> int:
    """Ask the active one to give its term up; its token."""
    token = cluster.window.grant(cluster.service).token
    cluster.window.ask_to_resign(cluster.service, token, "was asked to resign")
    return token


def freeze_outside_a_write(cluster: Cluster, instance: Instance) -> list[int]:
    """Stop an instance that does not write just now: SQLite's lock would stop with it, and nobody could do anything."""
    while True:
        frozen = cluster.freeze(instance)
        if cluster.place.native:
            return frozen  # nobody can read beats there, and no lock stops with it
        beats = {name: status.beat for name, status in cluster.window.sessions().items() if name != instance.name}
        pass_by(cluster.ttl / 3)
        sessions = cluster.window.sessions()
        if all(sessions[name].beat != beat for name, beat in beats.items()):
            return frozen
        cluster.resume(frozen)


def stands_in_line_again(cluster: Cluster, instance: Instance, dead: str) -> None:
    """All stand; the one that lost its session has another, and a place behind the active one."""
    active = cluster.stand()
    assert active is not instance, "it was not its turn any more"
    assert instance.name in cluster.window.line(cluster.service)[1:]
    assert cluster.window.sessions()[instance.name].id != dead
    cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=6.0)
def test_f34_session_closed_from_outside(cluster: Cluster) -> None:
    """Neither it nor its keeper knows of that yet."""
    candidate = next_one(cluster)
    worker = cluster.pids(candidate).worker
    dead = cluster.window.sessions()[candidate.name].id
    cluster.window.close_session(dead, "was closed from outside")
    token = resign(cluster)
    cluster.takeover(token, within=0.75 * cluster.ttl)
    holder = cluster.window.grant(cluster.service).holder
    pass_by(cluster.ttl / 6)  # until its keeper's next beat it would work on
    cluster.judge()
    assert holder is not None
    assert holder.session != dead, "it has won under a session that is closed"
    stands_in_line_again(cluster, candidate, dead)
    assert cluster.pids(candidate).worker == worker, "a candidate that loses its session loses nothing else"


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=2.0)
@pytest.mark.parametrize("thawed_first", [True, False], ids=["thawed-before", "thawed-after"])
def test_f34_frozen_in_line(cluster: Cluster, thawed_first: bool) -> None:
    """It was stopped for so long that others have closed its session; its turn comes before it goes on, or after."""
    candidate = next_one(cluster)
    dead = cluster.window.sessions()[candidate.name].id
    frozen = freeze_outside_a_write(cluster, candidate)
    until(lambda: cluster.window.session(dead).is_closed, "the others to see that it is silent")
    if thawed_first:
        cluster.resume(frozen)
    token = resign(cluster)
    cluster.takeover(token)
    if not thawed_first:
        cluster.resume(frozen)
    stands_in_line_again(cluster, candidate, dead)
