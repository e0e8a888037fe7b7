"""Rows of instances whose store is a ZooKeeper: ended connections, sessions that move, rights that are taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.refusals import refused_for_a_while
from tests.faults.kit.runs import count
from tests.faults.kit.secrets import CANARY, command_lines_told, secrets_in
from tests.faults.kit.waiting import pass_by
from tests.faults.kit.wire import Wire
from tests.servers.acls import all_under, identity, logged_in, set_rights
from tests.servers.zookeeper import Ensemble, ZooKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TTL = 3.0
ROOT = "/faults"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ZooKeeper]:
    """A server."""
    demand_server("zookeeper", ZooKeeper.is_installed())
    with ZooKeeper(tmp_path / "server") as server:
        yield server


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes a cluster on a URL."""
    ends: list[Cluster] = []

    def at(url: str, *, ttl: float = TTL) -> Cluster:
        cluster = Cluster(tmp_path, ttl=ttl)
        cluster.url = url
        ends.append(cluster.__enter__())
        return cluster

    yield at
    while ends:
        ends.pop().__exit__()


def test_f43_connections_ended_ten_a_second_end_no_term(server: ZooKeeper, at: Callable[..., Cluster]) -> None:
    """They are gone on with by others, each as the same ZooKeeper session."""
    with Wire(server.port) as wire:
        cluster = at(f"zookeeper://127.0.0.1:{wire.port}{ROOT}", ttl=6.0)
        cluster.three()
        before = cluster.last_row()
        for _ in range(count(300, 80)):
            wire.hurt("reset")
            wire.mend()
            pass_by(0.1)
        assert cluster.last_row().token == before.token, "the lease lived, and the term did not"
        cluster.judge()


@pytest.mark.thorough
def test_f43_sessions_move_from_server_to_server(tmp_path: Path, at: Callable[..., Cluster]) -> None:
    """Each member of an ensemble is killed in turn, the leading one too: whoever was connected goes on elsewhere."""
    demand_server("zookeeper", ZooKeeper.is_installed())
    with Ensemble(tmp_path / "ensemble") as ensemble:
        cluster = at(f"zookeeper://{ensemble.hosts}{ROOT}", ttl=12.0)
        cluster.three()
        before = cluster.last_row()
        for member in ensemble.members:
            member.kill()
            pass_by(0.5 * cluster.ttl)
            member.start()
            pass_by(0.2 * cluster.ttl)
        cluster.stand()
        assert cluster.last_row().token == before.token, "the lease lived, and the term did not"
        cluster.judge()


def url_of(server: ZooKeeper) -> str:
    return f"zookeeper://billing:{CANARY}@127.0.0.1:{server.port}{ROOT}"


def allow(server: ZooKeeper, letters: str) -> None:
    """Give the instances' own login these rights on all of its nodes; it keeps the one to change them."""

    async def work() -> None:
        async with logged_in(server, f"billing:{CANARY}") as owner:
            for path in sorted(await all_under(owner, ROOT)):
                await set_rights(owner, path, {identity("billing", CANARY): f"{letters}a"})

    asyncio.run(work())


def test_f44_rights_that_are_taken_end_the_term_in_time_and_it_is_worked_again(
    server: ZooKeeper, at: Callable[..., Cluster]
) -> None:
    cluster = at(url_of(server))
    said = "its user may not do that"
    refused_for_a_while(cluster, lambda: allow(server, "r"), lambda: allow(server, "cdrw"), said=said)
    assert secrets_in(cluster, server=b"QuorumPeerMain") == []
    command_lines_told(cluster, "zookeeper://billing@127.0.0.1")
