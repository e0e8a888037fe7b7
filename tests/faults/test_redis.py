"""Rows of instances whose store is a Redis: killed clients, full memory, restarts, crowds, changed passwords."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE, Cluster
from tests.faults.kit.refusals import refused_for_a_while
from tests.faults.kit.runs import count
from tests.faults.kit.secrets import ANOTHER, CANARY, command_lines_told, secrets_in
from tests.faults.kit.waiting import pass_by, until
from tests.servers.redis import Redis, documented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.kit.cluster import Instance

TTL = 3.0

Start = "Callable[..., tuple[Redis, Cluster]]"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Redis, Cluster]]]:
    """Starts a server, and makes a cluster on it."""
    demand_server("redis", Redis.is_installed())
    ends: list[Callable[[], object]] = []

    def start(*, ttl: float = TTL, login: str = "", **server: object) -> tuple[Redis, Cluster]:
        redis = Redis(tmp_path / "redis", **server)  # type: ignore[arg-type]
        redis.start()
        ends.append(redis.stop)
        cluster = Cluster(tmp_path, ttl=ttl)
        cluster.url = f"redis://{login}127.0.0.1:{redis.port}"
        cluster.__enter__()
        ends.append(cluster.__exit__)
        return redis, cluster

    yield start
    while ends:
        ends.pop()()


def says(instance: Instance, text: str) -> None:
    until(lambda: text in instance.text, f"{instance.name} to say {text!r}")


@pytest.mark.parametrize(("setting", "value"), [("appendonly", "no"), ("appendfsync", "everysec")])
def test_f32_a_server_that_may_have_forgotten_something_is_taken_up_after_a_quarantine(
    start: Callable[..., tuple[Redis, Cluster]], setting: str, value: str
) -> None:
    server, cluster = start(settings={setting: value})
    cluster.three()
    before = cluster.rows.last()
    assert before is not None
    server.restart()
    cluster.window.__exit__()
    after = cluster.takeover(before.token)
    cluster.window.__enter__()
    assert after.at - last_of(cluster, before.token) > 0.5 * cluster.ttl * 1e9, "nothing is granted in quarantine"
    cluster.judge()


def last_of(cluster: Cluster, token: int) -> int:
    cluster.rows.read()
    return max(row.at for row in cluster.rows.rows if row.token == token)


def test_f43_clients_killed_ten_a_second_end_no_term(start: Callable[..., tuple[Redis, Cluster]]) -> None:
    server, cluster = start(ttl=6.0)
    cluster.three()
    before = cluster.rows.last()
    assert before is not None
    for _ in range(count(300, 80)):
        server.demand("CLIENT", "KILL", "TYPE", "normal")
        server.demand("CLIENT", "KILL", "TYPE", "pubsub")
        pass_by(0.1)
    last = until(cluster.rows.last, "a row")
    assert last.token == before.token, "the lease lived, and the term did not"
    cluster.judge()


def test_f44_a_full_server_ends_the_term_in_time_and_is_worked_with_again(
    start: Callable[..., tuple[Redis, Cluster]],
) -> None:
    server, cluster = start()
    refused_for_a_while(
        cluster,
        lambda: server.demand("CONFIG", "SET", "maxmemory", "1"),
        lambda: server.demand("CONFIG", "SET", "maxmemory", "0"),
        said="its memory is full: free some, or raise maxmemory",
    )


@NEEDS_UNSHARE
def test_f47_a_death_elsewhere_is_noticed_in_time_on_a_server_that_expires_many_keys(
    start: Callable[..., tuple[Redis, Cluster]],
) -> None:
    server, cluster = start(settings={"appendonly": "no"})
    script = "for i = 1, 20000 do redis.call('SET', 'other:' .. i, 'x', 'PX', 1000 + i * 5) end"
    server.demand("EVAL", script, "0")
    holder = cluster.start(below=PID_NAMESPACE)
    assert cluster.stand() is holder
    for _ in range(2):
        cluster.start()
    cluster.stand()
    before = cluster.rows.last()
    assert before is not None
    holder.process.send_signal(signal.SIGKILL)  # with it its pid namespace ends; nobody outside can witness that
    after = cluster.takeover(before.token)
    silence = (after.at - last_of(cluster, before.token)) / 1e9
    assert 0.6 * cluster.ttl < silence, "whoever only watches waits for a TTL after the last beat"
    assert silence < 1.4 * cluster.ttl + 1.0, "a second more than is promised, for a machine under load"
    assert server.info("expired_keys") != ["0"]
    cluster.judge()


def test_a_changed_password_ends_no_term_and_is_told_to_nobody(
    start: Callable[..., tuple[Redis, Cluster]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(CANARY)
    monkeypatch.setenv("LOCUM_STORE_PASSWORD_FILE", str(file))
    server, cluster = start(ttl=6.0, login="billing@", users={"billing": (CANARY, documented("billing"))})
    cluster.three()
    before = cluster.rows.last()
    assert before is not None
    server.demand("ACL", "SETUSER", "billing", f">{ANOTHER}")
    file.write_text(ANOTHER)
    server.demand("ACL", "SETUSER", "billing", f"<{CANARY}")
    server.demand("CLIENT", "KILL", "USER", "billing")
    pass_by(2 * cluster.ttl)
    last = until(cluster.rows.last, "a row")
    assert last.token == before.token, "the term went on"
    assert len(cluster.alive()) == 3
    cluster.judge()
    assert secrets_in(cluster, server=b"redis-server") == []


def test_a_password_of_the_url_is_told_to_nobody(start: Callable[..., tuple[Redis, Cluster]]) -> None:
    users = {"billing": (CANARY, documented("billing"))}
    server, cluster = start(login=f"billing:{CANARY}@", users=users)
    active = cluster.three()
    server.demand("ACL", "SETUSER", "billing", f">{ANOTHER}", f"<{CANARY}")  # refused from here on, which is an error
    server.demand("CLIENT", "KILL", "USER", "billing")
    says(active, "refuses this user or password")
    server.demand("ACL", "SETUSER", "billing", f">{CANARY}")
    cluster.stand()
    assert secrets_in(cluster, server=b"redis-server") == []
    command_lines_told(cluster, "redis://billing@127.0.0.1")
