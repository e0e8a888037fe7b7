"""H01 to H06: shards whose instances join, leave, die and freeze: one owner each, balance, and no move without need."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.processes import send
from tests.faults.kit.runs import FULL, count
from tests.faults.kit.shards import ShardWatch
from tests.faults.kit.waiting import pass_by, until
from tests.servers.postgresql import Postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.kit.cluster import Instance

FEW = {"FAULTS_SHARDS": "12"}


def started(cluster: Cluster, number: int) -> None:
    """As many instances as this."""
    while len(cluster.alive()) < number:
        cluster.start()


def terminated(cluster: Cluster, instance: Instance) -> None:
    """A planned stop, which ends well."""
    send(cluster.pids(instance).keeper, signal.SIGTERM)
    assert instance.leave() == 0, "a stop that was asked for is clean"


def killed(cluster: Cluster, instance: Instance) -> None:
    """All of an instance, at once."""
    pids = cluster.pids(instance)
    for pid in (pids.guardian, pids.keeper, pids.worker):
        send(pid, signal.SIGKILL)
    instance.leave()


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


@pytest.mark.stores(thorough=True)
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


@pytest.mark.stores(thorough=True)
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


@pytest.mark.stores(thorough=True)
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


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(app="sharded", ttl=3.0, environment=FEW)
@pytest.mark.timeout(1800)
def test_h04_the_computer_is_frozen_killed_and_its_old_plan_written(cluster: Cluster) -> None:
    watch = ShardWatch(cluster, 12)
    started(cluster, 3)
    old = cluster.window.plan_value("orders") if watch.settled() else b""
    for hurts in (killed, frozen):
        hurts(cluster, watch.computer())
        started(cluster, 3)
        watch.settled()
    watch.judge()
    epoch = watch.look().epoch
    cluster.window.put_plan("orders", old)
    until(lambda: watch.look().epoch != epoch, "the old plan to be seen")
    watch.settled()
    watch.plans.clear()  # what follows a plan that nobody made is as many moves as that has cost
    watch.judge()


@pytest.mark.stores(thorough=True)
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


@pytest.fixture
def books() -> Iterator[Postgresql]:
    """A PostgreSQL server of this test's own, for what a stream does."""
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql() as server:
        server.run("CREATE TABLE work (id SERIAL, shard INTEGER, number INTEGER, token BIGINT)")
        yield server


def test_h06_the_streams_database_fails_over_in_the_middle_of_batches(tmp_path: Path, books: Postgresql) -> None:
    """It is killed and comes back, and an instance dies besides: each batch is done once, under tokens that grow."""
    last = 60
    url = f"postgresql+asyncpg://owner:{books.password}@127.0.0.1:{books.port}/postgres"
    with Cluster(tmp_path, app="stream", environment={"FAULTS_DATABASE": url, "FAULTS_LAST": str(last)}) as cluster:
        started(cluster, 2)

        def done() -> int:
            return len(books.run("SELECT id FROM work"))

        def is_beyond(number: int) -> bool:
            return done() > number

        for number in range(count(5, 2)):
            until(partial(is_beyond, 10 + 40 * number), "batches to be done")
            before = done()
            books.restart()
            until(partial(is_beyond, before), "the stream to go on")
        killed(cluster, cluster.random.choice(cluster.alive()))
        until(lambda: done() >= 4 * last, "the stream's end", within=60)
        pass_by(0.3)
    for shard in range(4):
        rows = books.run(f"SELECT number, token FROM work WHERE shard = {shard} ORDER BY id")
        numbers, tokens = [number for number, _ in rows], [int(str(token)) for _, token in rows]
        assert numbers == list(range(1, last + 1)), f"shard {shard} has lost something, or done it twice"
        assert tokens == sorted(tokens), f"a token of shard {shard} fell"
