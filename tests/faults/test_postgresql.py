"""Rows of instances whose store is a PostgreSQL: ended backends, a pooler, read only, changed passwords."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.refusals import refused_for_a_while
from tests.faults.kit.runs import count
from tests.faults.kit.secrets import ANOTHER, CANARY, command_lines_told, secrets_in
from tests.faults.kit.waiting import pass_by, until
from tests.servers.postgresql import Pooler, Postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


TTL = 3.0
READ_ONLY = "default_transaction_read_only"


@pytest.fixture
def server() -> Iterator[Postgresql]:
    """A server, with a role for the instances."""
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql() as server:
        server.run(f"CREATE ROLE billing LOGIN PASSWORD '{CANARY}' IN ROLE owner")
        yield server


@pytest.fixture
def at(tmp_path: Path, server: Postgresql) -> Iterator[Callable[..., Cluster]]:
    """Makes a cluster on a URL, which is looked at by the server's owner."""
    ends: list[Cluster] = []

    def at(url: str, *, ttl: float = TTL) -> Cluster:
        cluster = Cluster(tmp_path, ttl=ttl)
        cluster.url = url_of(server, login=f"owner:{server.password}")
        cluster.__enter__()
        cluster.url = url
        ends.append(cluster)
        return cluster

    yield at
    while ends:
        ends.pop().__exit__()


def url_of(server: Postgresql, *, login: str = f"billing:{CANARY}", port: int | None = None) -> str:
    return f"postgresql://{login}@127.0.0.1:{port or server.port}/postgres"


def hang_up(server: Postgresql) -> None:
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing'")


def test_f43_backends_ended_ten_a_second_end_no_term(server: Postgresql, at: Callable[..., Cluster]) -> None:
    cluster = at(url_of(server), ttl=6.0)
    cluster.three()
    before = cluster.last_row()
    for _ in range(count(300, 80)):
        hang_up(server)
        pass_by(0.1)
    assert cluster.last_row().token == before.token, "the lease lived, and the term did not"
    cluster.judge()


def test_f43_through_a_pooler_that_lends_four_servers(server: Postgresql, at: Callable[..., Cluster]) -> None:
    """In transaction mode; a dozen connections share four, and a term is kept and followed."""
    demand_server("pgbouncer", Pooler.is_installed())
    with Pooler(server) as pooler:
        cluster = at(url_of(server, login=f"owner:{server.password}", port=pooler.port))
        active = cluster.three()
        before = cluster.last_row()
        pass_by(cluster.ttl)
        assert cluster.last_row().token == before.token
        active.process.send_signal(signal.SIGTERM)
        cluster.takeover(before.token)
        cluster.judge()


def test_f44_a_server_set_to_read_only_ends_the_term_in_time_and_is_worked_with_again(
    server: Postgresql, at: Callable[..., Cluster]
) -> None:
    def change(what: str) -> None:
        server.run(f"ALTER ROLE billing {what}")
        hang_up(server)

    refused_for_a_while(
        at(url_of(server)),
        lambda: change(f"SET {READ_ONLY} = on"),
        lambda: change(f"RESET {READ_ONLY}"),
        said="it cannot be written to",
    )


def test_a_changed_password_ends_no_term_and_is_told_to_nobody(
    server: Postgresql, at: Callable[..., Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(CANARY)
    monkeypatch.setenv("LOCUM_STORE_PASSWORD_FILE", str(file))
    cluster = at(url_of(server, login="billing"), ttl=6.0)
    cluster.three()
    before = cluster.last_row()
    server.run(f"ALTER ROLE billing PASSWORD '{ANOTHER}'")
    file.write_text(ANOTHER)
    hang_up(server)
    pass_by(2 * cluster.ttl)
    assert cluster.last_row().token == before.token, "the term went on"
    assert len(cluster.alive()) == 3
    cluster.judge()
    assert secrets_in(cluster, server=b"postgres -D") == []


def test_a_password_of_the_url_is_told_to_nobody(server: Postgresql, at: Callable[..., Cluster]) -> None:
    cluster = at(url_of(server))
    active = cluster.three()
    server.run(f"ALTER ROLE billing PASSWORD '{ANOTHER}'")  # refused from here on, which is an error
    hang_up(server)
    until(lambda: "refuses this user or password" in active.text, f"{active.name} to say that it is refused")
    server.run(f"ALTER ROLE billing PASSWORD '{CANARY}'")
    cluster.stand()
    assert secrets_in(cluster, server=b"postgres -D") == []
    command_lines_told(cluster, "postgresql://billing@127.0.0.1")
