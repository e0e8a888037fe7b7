"""F40, F41: the active one is alone on its machine, and the others are elsewhere; its worker or its network ends.

Nobody elsewhere can witness anything: what they know is what the store says. "Elsewhere" is a pid namespace.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from tests.faults.kit import judges
from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.networks import CUTS, NEEDS_NETWORKS, OwnNetwork
from tests.faults.kit.places import SERVERS, ServerPlace
from tests.faults.kit.rows import now
from tests.faults.kit.runs import FULL, INJURIES, count
from tests.faults.kit.waiting import pass_by
from tests.faults.kit.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.kit.cluster import Cluster, Instance

pytestmark = [NEEDS_UNSHARE, pytest.mark.timeout(1800)]
EVERYWHERE: Final = pytest.mark.stores(*SERVERS, thorough=True)


class Road(Protocol):
    """What lies between an instance and its store."""

    def hurt(self, harm: str, /) -> None: ...
    def mend(self) -> None: ...


TTL: Final = 6.0 if FULL else 2.5  # in many rounds a machine is slow once, which must not cost a session
SLOW: Final = 0.25 * TTL  # more than a call's deadline: no answer comes in time
LOAD: Final = 1.0  # seconds that a machine under load may take for what it does in milliseconds
SILENT: Final = "fell silent"


def others_elsewhere(cluster: Cluster, active: Instance) -> None:
    """Two more, each on a machine of its own; all stand, and it is still the first one that works."""
    assert cluster.stand() is active
    while len(cluster.alive()) < 3:
        cluster.start(below=PID_NAMESPACE)
    assert cluster.stand() is active


@pytest.mark.stores(*SERVERS)
def test_f40_worker_killed_and_all_others_are_elsewhere(cluster: Cluster) -> None:
    """Its keeper says so: that costs a write and a wake-up, and no TTL."""
    for _ in range(count(25, on=cluster.place)):
        active = become_active(cluster)
        others_elsewhere(cluster, active)
        before = cluster.rows.last()
        assert before is not None
        INJURIES["worker-killed"](cluster, active)
        cluster.takeover(before.token, within=0.75 * cluster.ttl)
        assert cluster.stand() is not active
        cluster.judge()
        ended = cluster.ended(before.token)
        assert ended.instance == active.name
        assert not ended.why.startswith(SILENT), "nobody was told, and all have waited"
        leave(cluster, active)


@EVERYWHERE
@pytest.mark.cluster(ttl=TTL)
@pytest.mark.parametrize("harm", ["silent", "reset", "requests", "answers", "slow"] if FULL else ["silent", "slow"])
def test_f41_network_cut_by_a_proxy(cluster: Cluster, harm: str) -> None:
    """The body ends when it is told to, at 60 %."""
    for _ in range(count(5, small=1)):
        with wired(cluster) as (wire, active):
            landed = round((SLOW + cluster.ttl / 6) * 1e9) if harm == "slow" else 0
            lose_the_network(cluster, active, wire, harm, landed=landed)


@pytest.mark.stores(*SERVERS, thorough=True)
@pytest.mark.cluster(ttl=TTL)
def test_f41_half_open(cluster: Cluster) -> None:
    """What was connected is dead, and nobody is told: after a call's deadline it connects anew, and keeps its term."""
    with wired(cluster) as (wire, active):
        before = cluster.rows.last()
        assert before is not None
        wire.hurt("half-open")
        pass_by(1.5 * cluster.ttl)
        assert cluster.stand() is active
        last = cluster.rows.last()
        assert last is not None
        assert (last.token, last.pid) == (before.token, before.pid)
        cluster.judge()


@NEEDS_NETWORKS
@EVERYWHERE
@pytest.mark.cluster(ttl=TTL)
@pytest.mark.parametrize("cut", list(CUTS) if FULL else ["reset", "answers"])
def test_f41_network_cut_by_the_kernel(cluster: Cluster, cut: str) -> None:
    """The body looks at nothing and has to be ended: at 80 % by its keeper, behind which the kernel stands at 85 %."""
    assert isinstance(cluster.place, ServerPlace)
    for _ in range(count(5, small=1)):
        with OwnNetwork(cluster.place) as network:
            active = become_active(cluster, below=network.below, store=network.url)
            others_elsewhere(cluster, active)
            cluster.order("spin")
            lose_the_network(cluster, active, network, cut)
            leave(cluster, active)


@contextmanager
def wired(cluster: Cluster) -> Iterator[tuple[Wire, Instance]]:
    """An active one behind a wire, and two others elsewhere."""
    assert isinstance(cluster.place, ServerPlace)
    with Wire(cluster.place.server.port, delay=SLOW) as wire:
        store = cluster.place.through("127.0.0.1", wire.port)
        active = become_active(cluster, below=PID_NAMESPACE, store=store)
        others_elsewhere(cluster, active)
        yield wire, active
        leave(cluster, active)


def become_active(cluster: Cluster, *, below: Sequence[str] = (), store: str | None = None) -> Instance:
    """One more instance, which becomes active."""
    instance = cluster.start(below=below, store=store)
    while cluster.stand() is not instance:
        token = cluster.window.grant(cluster.service).token
        cluster.window.ask_to_resign(cluster.service, token, "it is another's turn", successor=instance.name)
        cluster.takeover(token)
    return instance


def leave(cluster: Cluster, instance: Instance) -> None:
    """Stop an instance as planned."""
    INJURIES["terminated"](cluster, instance)
    instance.leave()


def lose_the_network(cluster: Cluster, active: Instance, road: Road, harm: str, *, landed: int = 0) -> None:
    """The active one is cut off until another has taken over, and then comes back.

    Args:
        cluster: Whose instances.
        active: The active one.
        road: Its way to the store.
        harm: What is done to that.
        landed: Nanoseconds after the cut at which something of it may still reach the store.
    """
    ttl = round(cluster.ttl * 1e9)
    before = cluster.rows.last()
    assert before is not None
    session = cluster.window.sessions()[active.name].id
    cluster.last_beat(active)
    road.hurt(harm)
    cut = now()
    after = cluster.takeover(before.token)
    cluster.rows.read()
    late = judges.rows_after(cluster.rows.rows, before.token, cut + round(0.85 * ttl))
    assert not late, "\n".join(late)
    waited = after.at - cut - landed
    assert waited < (1.4 + LOAD / cluster.ttl) * ttl + cluster.place.tick * 1e9, f"that took {waited / ttl:.2f} TTL"
    ended = cluster.window.session(session)
    if ended.beat is not None and SILENT in cluster.ended(before.token).why:
        # an observer's close: the last beat that arrived may not even have been answered
        assert after.at >= ended.beat + ttl, "nobody may start before 100 % of the last beat"
    if cluster.place.native:
        # what the server has heard last of the session it has heard before the cut, and at the most a beat before
        assert after.at >= cut + round(0.7 * ttl), "the session was over too soon"
    road.mend()
    cluster.stand()
    pass_by(0.2)  # a body that should be dead would write now
    cluster.judge()
