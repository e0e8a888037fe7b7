"""H06: a stream whose database fails over in the middle of batches: each batch is done once, under tokens that grow."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.docs.pages import programs
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.runs import count
from tests.faults.kit.shards import killed, started
from tests.faults.kit.waiting import pass_by, until
from tests.servers.postgresql import Postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARDS = 4
LAST = 100
TABLE = "CREATE TABLE work (id SERIAL, shard INTEGER, number INTEGER, token BIGINT)"


@pytest.fixture
def books() -> Iterator[Postgresql]:
    """A PostgreSQL server of this test's own, for what a stream does."""
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql() as server:
        server.run(TABLE)
        yield server


@pytest.fixture
def pair(books: Postgresql) -> Iterator[tuple[Postgresql, Postgresql]]:
    """A primary, and a standby that has each commit before it is answered."""
    with Postgresql(standby_of=books) as standby:
        books.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        until(lambda: books.run("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), "the standby to follow")
        yield books, standby


@contextmanager
def streaming(folder: Path, *servers: Postgresql) -> Iterator[Cluster]:
    """Two instances that work on the stream, wherever its primary is."""
    (said,) = programs("docs/how-to/streams.md", "text")
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
    url = said.strip().replace("app@/orders", f"owner:{servers[0].password}@/postgres")
    url = url.replace("host=db-1:5432&host=db-2:5432", hosts)
    assert "db-" not in url
    with Cluster(folder, app="stream", environment={"FAULTS_DATABASE": url, "FAULTS_LAST": str(LAST)}) as cluster:
        started(cluster, 2)
        yield cluster


def is_beyond(server: Postgresql, rows: int) -> bool:
    """Whether more than so many numbers are written down."""
    return len(server.run("SELECT id FROM work")) > rows


def is_divided(cluster: Cluster) -> bool:
    """Whether both instances have as many shards."""
    owners = [one.owner for one in cluster.window.shards("orders")]
    return [owners.count(instance.name) for instance in cluster.alive()] == [SHARDS // 2] * 2


def judge(server: Postgresql) -> None:
    """Fail unless each number is there once and in order, under tokens that never fall."""
    for shard in range(SHARDS):
        rows = server.run(f"SELECT number, token FROM work WHERE shard = {shard} ORDER BY id")
        numbers, tokens = [number for number, _ in rows], [int(str(token)) for _, token in rows]
        assert numbers == list(range(1, LAST + 1)), f"shard {shard} has lost something, or done it twice"
        assert tokens == sorted(tokens), f"a token of shard {shard} fell"


def test_h06_the_streams_database_restarts_in_the_middle_of_batches(tmp_path: Path, books: Postgresql) -> None:
    """It is killed and comes back, and an instance dies besides."""
    with streaming(tmp_path, books) as cluster:
        for number in range(count(5, 2)):
            until(partial(is_beyond, books, 10 + 40 * number), "batches to be done")
            before = len(books.run("SELECT id FROM work"))
            books.restart()
            until(partial(is_beyond, books, before), "the stream to go on")
        killed(cluster, cluster.random.choice(cluster.alive()))
        until(partial(is_beyond, books, SHARDS * LAST - 1), "the stream's end", within=60)
        pass_by(0.3)
    judge(books)


def test_h06_the_streams_database_fails_over_in_the_middle_of_batches(
    tmp_path: Path, pair: tuple[Postgresql, Postgresql]
) -> None:
    """Its primary is killed and the standby promoted: no shard is given up for that, and none is a failing one."""
    primary, standby = pair
    with streaming(tmp_path, primary, standby) as cluster:
        until(partial(is_divided, cluster), "each instance to have its share")
        until(partial(is_beyond, primary, 40), "batches to be done")
        tokens = {one.index: one.token for one in cluster.window.shards("orders")}
        primary.kill()
        pass_by(0.3)  # meanwhile there is a standby only, which refuses whatever is written
        standby.promote()
        until(partial(is_beyond, standby, SHARDS * LAST - 1), "the stream's end", within=60)
        pass_by(0.3)
        seen = cluster.window.shards("orders")
        assert {one.index: one.token for one in seen} == tokens, "a shard was given up for that"
        assert [one.failures for one in seen] == [0] * SHARDS
    judge(standby)
