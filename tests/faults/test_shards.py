"""H01 to H05: shards whose instances join, leave, die and freeze: one owner each, balance, and no move without need."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.coordination.plan import Plan
from tests.faults import apps
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.runs import FULL, count
from tests.faults.kit.shards import ShardWatch, killed, started, terminated
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Instance

FEW = {"FAULTS_SHARDS": "12"}


def frozen(cluster: Cluster, instance: Instance) -> None:
    """All of an instance, for longer than its TTL."""
    stopped = cluster.freeze(instance)
    pass_by(1.3 * cluster.ttl)
    cluster.resume(stopped)
    until(lambda: not instance.is_alive or instance.name in cluster.window.sessions(), "what was frozen to be itself")
    pass_by(0.2)


def hurt(cluster: Cluster, watch: ShardWatch) -> None:
    """One of them, at a random phase; afterwards there are as many as before, and all is in its place."""
    number = len(cluster.alive())
    cluster.phase()
    kind = cluster.random.choice([killed, frozen, terminated])
    kind(cluster, cluster.random.choice(cluster.alive()))
    started(cluster, number)
    watch.settled()
    watch.judge()


@pytest.mark.stores(thorough=["postgresql", "zookeeper"])
@pytest.mark.cluster(app="sharded", ttl=3.0)
@pytest.mark.timeout(1800)
def test_h01_joins_leaves_kills_and_freezes(cluster: Cluster) -> None:
    watch = ShardWatch(cluster, 64)
    started(cluster, 1)
    watch.settled()
    for number in (5, 2, 5):
        while len(cluster.alive()) > number:
            terminated(cluster, cluster.random.choice(cluster.alive()))
        started(cluster, number)
        watch.settled()
        for _ in range(count(12, 1, on=cluster.place)):
            hurt(cluster, watch)
    watch.judge()
    assert len(watch.plans) >= 4


@pytest.mark.stores
@pytest.mark.cluster(app="sharded", environment=FEW)
def test_h02_a_planned_stop_loses_nothing(cluster: Cluster) -> None:
    """What each shard has counted goes on with the next number, and the gap is no death's."""
    watch = ShardWatch(cluster, 12)
    started(cluster, 3)
    before = watch.settled()
    leaves = cluster.random.choice(cluster.alive())
    moved = [index for index, owner in enumerate(before) if owner == leaves.name]
    tokens = {index: watch.last_token(index) for index in moved}
    terminated(cluster, leaves)
    after = watch.settled()
    assert [index for index in range(12) if before[index] != after[index]] == moved
    for index in moved:
        until(partial(watch.has_newer, index, tokens[index]), f"rows of shard {index}'s next owner")
        assert watch.gap(index, watch.last_token(index)) < (1.0 if FULL else 0.5 * cluster.ttl)
    until(lambda: len(watch.numbers()) == 12, "all shards to have counted")
    for index, numbers in watch.numbers().items():
        assert numbers == list(range(1, len(numbers) + 1)), f"shard {index} has lost something, or done it twice"
    watch.judge()


@pytest.mark.stores
@pytest.mark.cluster(app="sharded", environment={**FEW, "FAULTS_REBALANCE_DELAY": "60"})
def test_h03_a_rolling_restart_changes_no_owners_name(cluster: Cluster) -> None:
    watch = ShardWatch(cluster, 12)
    number = count(5, 3)
    started(cluster, number)
    until(lambda: len(watch.look().capacities) == number, "all to take part")
    before = watch.settled()
    tokens = [watch.last_token(index) for index in range(12)]
    for instance in cluster.alive():
        terminated(cluster, instance)
        cluster.start(name=instance.name)
        assert watch.settled() == before
    for index, token in enumerate(tokens):
        until(partial(watch.has_newer, index, token), f"rows of shard {index}'s restarted owner")
    watch.judge()


@pytest.mark.stores
@pytest.mark.cluster(app="sharded", ttl=3.0, environment=FEW)
@pytest.mark.timeout(1800)
def test_h04_the_computer_is_frozen_killed_and_its_old_plan_written(cluster: Cluster) -> None:
    watch = ShardWatch(cluster, 12)
    started(cluster, 3)
    watch.settled()
    old = watch.look()
    for hurts in (killed, frozen):
        hurts(cluster, watch.computer())
        started(cluster, 3)
        watch.settled()
    watch.judge()
    names = sorted(instance.name for instance in cluster.alive())
    forged = {
        "an old one": old,
        "for nobody who is there": Plan(1, ("gone",) * 12, {"gone": 1.0}, "gone"),
        "all to one, who alone counts": Plan(1, (names[0],) * 12, {names[0]: 1.0}, "gone"),
        "all to one": Plan(1, (names[0],) * 12, dict.fromkeys(names, 1.0), "gone"),
        "each to its neighbour": Plan(1, tuple(names[place % 3] for place in range(1, 13)), old.capacities, "gone"),
    }
    for what, plan in forged.items():
        owners, before = watch.settled(), watch.moves()
        cluster.window.put_plan("orders", plan.to_bytes())
        until(partial(watch.is_beyond, plan), f"a plan after the forged one ({what})")
        watch.settled()
        cost, most = watch.moves() - before, watch.most_moves(plan, owners)
        assert cost <= most, f"{what}: {cost} moves, and {most} would do"
        watch.plans.clear()  # what follows a plan that nobody made is judged by what it has cost
        watch.judge()


@pytest.mark.stores
@pytest.mark.cluster(app="sharded", ttl=1.5, environment=FEW)
def test_h04_orphans_are_taken_while_nobody_computes(cluster: Cluster) -> None:
    """The computer dies, and whoever has its lock after that is somebody who computes nothing."""
    watch, idler = ShardWatch(cluster, 12), Path(apps.__file__).with_name("idler.py")
    watch.strangers.add("idler")
    started(cluster, 1)
    watch.settled()
    idles = cluster.beside([sys.executable, str(idler), "orders", "idler"])
    until(lambda: "idler" in cluster.window.line_of("shards/orders"), "the idler to stand in line")
    started(cluster, 3)
    before = watch.settled()
    epoch, computer = watch.look().epoch, watch.computer()
    killed(cluster, computer)
    names = {instance.name for instance in cluster.alive()}
    until(lambda: names >= set(watch.owners()), "the orphans to be taken", within=60)
    holder = cluster.window.grant_of("shards/orders").holder
    assert holder is not None
    assert holder.instance == "idler"
    assert watch.look().epoch == epoch, "somebody has computed"
    after = watch.owners()
    assert all(new == old for old, new in zip(before, after, strict=True) if old in names), "more moved than orphans"
    watch.judge()
    idles.send_signal(signal.SIGTERM)
    watch.plans.clear()
    watch.settled()
    watch.judge()


@pytest.mark.stores
@pytest.mark.cluster(app="sharded", environment={**FEW, "FAULTS_POISONED": "3"})
def test_h05_a_shard_that_fails_for_ever_disturbs_no_other(cluster: Cluster) -> None:
    watch = ShardWatch(cluster, 12)
    started(cluster, 1)
    dead = until(
        lambda: next((one for one in cluster.window.shards("orders") if one.state == "dead"), None), "a dead shard"
    )
    assert (dead.index, dead.failures, dead.trouble) == (3, 4, "raised ValueError: no such customer")
    watch.settled(but=(3,))
    others = {one.index: one.token for one in cluster.window.shards("orders") if one.index != 3}
    pass_by(0.5)
    seen = {one.index: one for one in cluster.window.shards("orders")}
    assert {index: seen[index].token for index in others} == others, "another shard began anew"
    assert (seen[3].state, seen[3].token) == ("dead", dead.token), "somebody has run it again"
    watch.judge()
