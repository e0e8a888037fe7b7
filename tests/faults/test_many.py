"""F12: the price of an instance is its beat, however much it takes part in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.counting import Traffic, watch_writes
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

    from tests.faults.kit.cluster import Cluster

TTL = 6.0
BEAT = TTL / 6


def elections(number: int) -> ParameterSet:
    """The number, and a cluster whose instances take part in so many."""
    mark = pytest.mark.cluster(app="many", ttl=TTL, environment={"FAULTS_ELECTIONS": str(number)})
    return pytest.param(number, marks=mark, id=str(number))


def settled_traffic(cluster: Cluster, number: int) -> Traffic:
    """What one instance writes in eight beats, once it is active in all its elections."""
    cluster.start()
    until(lambda: cluster.window.active_in() == number, f"{number} terms", within=100, pause=0.2)
    until(lambda: watch_writes(cluster.database, 1.5 * BEAT).changes == 0, "quiet", within=20)
    return watch_writes(cluster.database, 8 * BEAT)


@pytest.mark.parametrize("number", [elections(1), elections(1000)])
@pytest.mark.timeout(200)
def test_f12_store_writes_do_not_grow(cluster: Cluster, number: int) -> None:
    """One beat an interval and nothing else, for one election as for a thousand."""
    traffic = settled_traffic(cluster, number)
    assert traffic.changes == 0
    assert traffic.commits == traffic.beats, "something else than beats is written"
    assert 1 <= traffic.beats <= traffic.duration / BEAT + 1, "one beat an interval"
