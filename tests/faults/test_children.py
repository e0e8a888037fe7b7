"""F09: what a dead worker's children still write, they write before a successor begins.

A grandchild in a session of its own is ended too where the keeper or the guardian lives: both are subreapers. With both
dead such a one is out of reach, which is a stated limit. (A planned end waits for the body alone: the children that it
has started are the body's to end, until the worker itself ends.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.runs import INJURIES, count
from tests.faults.kit.waiting import pass_by

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

    from tests.faults.kit.cluster import Cluster

IN_REACH = "subprocess group"
OUT_OF_REACH = "subprocess group session"


def victims(name: str, kind: str, children: str) -> ParameterSet:
    """An injury, and a cluster whose bodies have such children."""
    mark = pytest.mark.cluster(app="parent", environment={"FAULTS_CHILDREN": children})
    return pytest.param(kind, marks=mark, id=name)


@pytest.mark.stores(thorough=True)
@pytest.mark.parametrize(
    "kind",
    [
        victims("worker", "worker-killed", OUT_OF_REACH),
        victims("keeper", "keeper-killed", OUT_OF_REACH),
        victims("both", "instance-killed", IN_REACH),
    ],
)
@pytest.mark.timeout(1800)
def test_f09_children(cluster: Cluster, kind: str) -> None:
    for _ in range(count(25, small=3, on=cluster.place)):
        cluster.renew()
        cluster.phase()
        active = cluster.stand()
        before = cluster.all_write(*children_of(cluster))
        INJURIES[kind](cluster, active)
        cluster.takeover(before.token, within=0.75 * cluster.ttl)
        pass_by(0.2)  # a child that lives would write now
        cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(app="parent", ttl=1.5, environment={"FAULTS_CHILDREN": IN_REACH})
def test_f09_children_of_the_frozen(cluster: Cluster) -> None:
    """Frozen with its children: the kernel ends the keeper and so the worker, a witness ends the children."""
    active = cluster.three()
    before = cluster.all_write(*children_of(cluster))
    frozen = cluster.freeze(active)
    cluster.takeover(before.token)
    cluster.resume(frozen)
    pass_by(0.5)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@NEEDS_UNSHARE
@pytest.mark.cluster(app="parent", ttl=1.5, environment={"FAULTS_CHILDREN": OUT_OF_REACH})
def test_f09_children_without_a_witness(cluster: Cluster) -> None:
    """The successor lives in another pid namespace and can witness nothing: the guardian ends what the keeper left."""
    active = cluster.start()
    cluster.stand()
    cluster.start(below=PID_NAMESPACE)
    assert cluster.stand() is active
    before = cluster.all_write(*children_of(cluster))
    INJURIES["keeper-killed"](cluster, active)
    cluster.takeover(before.token)
    pass_by(0.5)
    cluster.judge()


def children_of(cluster: Cluster) -> list[str]:
    """What the bodies' children call themselves."""
    return ["fork", *cluster.environment("")["FAULTS_CHILDREN"].split()]
