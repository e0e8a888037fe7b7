"""F44: what can be wrong with a server is one clear error each, and it works again when that is mended."""

from __future__ import annotations

import shutil
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from locum.errors import OutcomeUnknownError, StoreError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY
from tests.faults.kit.waiting import until
from tests.servers.certificates import Certificates
from tests.servers.redis import Redis
from tests.servers.server import free_port
from tests.unit.stores.kit import PASSWORD, TTL, absence, refusal, session_of
from tests.unit.stores.redis.kit import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# -- it was never right


async def test_a_wrong_password_is_refused(server: Redis) -> None:
    assert "refuses this user or password" in await refusal(f"redis://billing:wr0ng@127.0.0.1:{server.port}")
    assert "refuses this user or password" in await refusal(f"redis://nobody:wr0ng@127.0.0.1:{server.port}")


async def test_a_password_that_is_asked_for_and_not_given_is_named(tmp_path: Path) -> None:
    with Redis(tmp_path, settings={"requirepass": PASSWORD}) as server:
        assert "Authentication required" in await refusal(f"redis://127.0.0.1:{server.port}")


async def test_a_replica_is_refused(server: Redis, url: str) -> None:
    server.demand("REPLICAOF", "127.0.0.1", "9")
    assert "read-only replica of 127.0.0.1:9: name its primary" in await refusal(url)


async def test_a_policy_that_throws_our_keys_away_is_refused(server: Redis, url: str) -> None:
    server.demand("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert "set maxmemory-policy to noeviction" in await refusal(url)


async def test_a_cluster_is_refused(tmp_path: Path) -> None:
    with Redis(tmp_path, settings={"cluster-enabled": "yes"}) as server:
        assert "runs as cluster: name a server that runs alone" in await refusal(f"redis://127.0.0.1:{server.port}")


async def test_something_else_under_our_prefix_is_noticed(server: Redis, url: str) -> None:
    server.demand("SET", "{locum}:store", "something else")
    said = await absence(url)
    assert "choose another one (?prefix=...)" in said


# -- it is not there, or not for now


async def test_an_unknown_host_is_named() -> None:
    said = await absence("redis://no-such-host.invalid")
    assert "redis://no-such-host.invalid:6379 is not available: its name is not known" in said
    assert "DNS" in said


async def test_nobody_who_listens_is_told(server: Redis) -> None:
    assert "it is not reached (Connect" in await absence(f"redis://127.0.0.1:{free_port()}")


async def test_one_that_accepts_and_says_nothing_is_left_by_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = await absence(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        assert "there was no connection within 0.20 s" in said


async def test_one_that_is_no_redis_is_told(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "c")
    with Redis(tmp_path / "r", certificates=certificates, settings={"tls-auth-clients": "no"}) as server:
        plain = await absence(f"redis://127.0.0.1:{server.tls_port}")
        assert "the connection broke" in plain or "it cut the connection" in plain
        said = await absence(f"rediss://localhost:{server.port}?cafile={certificates.authority}", timeout=0.5)
        assert "nobody answers there, or not in the way that the URL says" in said


@contextmanager
def full(server: Redis) -> Iterator[None]:
    server.demand("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        server.demand("CONFIG", "SET", "maxmemory", "0")


async def test_full_memory_changes_nothing_and_goes_on_by_itself(server: Redis, url: str) -> None:
    async with opened(url) as store:
        session = await session_of(store)
        record = await store.write("a", b"", expect=ABSENT)
        with full(server):
            for change in (
                store.beat(session, 1),
                store.write("a", b"new", expect=ANY),
                store.delete("a", expect=ANY),
                store.close_session(session, reason=b""),
                store.open_session(b"me", TTL, random_id()),
            ):
                with pytest.raises(StoreUnavailableError, match="its memory is full: free some, or raise maxmemory"):
                    await change
            assert await store.read("a") == record
        await store.beat(session, 1)
        assert list((await store.sessions()).by_id) == [session]


async def test_one_that_becomes_a_replica_changes_nothing_and_is_waited_for(server: Redis, url: str) -> None:
    async with opened(url) as store:
        session = await session_of(store)
        server.demand("REPLICAOF", "127.0.0.1", "9")
        with pytest.raises(StoreUnavailableError, match="it is a read-only replica now: name its primary"):
            await store.beat(session, 1)
        server.demand("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreError, match=r"read-only replica|the connection broke"):
            await store.beat(session, 2)
        with pytest.raises(StoreUnavailableError, match="read-only replica of 127"):
            await store.beat(session, 3)  # what was right once is waited for
        server.demand("REPLICAOF", "NO", "ONE")
        await store.beat(session, 4)


async def test_a_disk_that_takes_no_writes_changes_nothing(tmp_path: Path) -> None:
    """Redis refuses writes after a failed dump, if it is set up to dump."""
    with Redis(tmp_path / "r", settings={"save": "1 1", "appendonly": "no"}) as server:
        (server.folder / "dump.rdb").mkdir()  # nothing can be renamed to it
        async with opened(f"redis://127.0.0.1:{server.port}") as store:
            session = await session_of(store)
            server.ask("BGSAVE")
            until(lambda: server.info("rdb_last_bgsave_status") == ["err"], "a dump that fails")
            with pytest.raises(StoreUnavailableError, match="it cannot write its files, as when the disk is full"):
                await store.beat(session, 1)
            (server.folder / "dump.rdb").rmdir()
            server.demand("SAVE")
            await store.beat(session, 1)


async def test_an_answer_that_does_not_come_is_unknown(server: Redis, url: str) -> None:
    async with opened(url) as store:
        session = await session_of(store)
        store.call_timeout = 0.2
        server.pause()
        try:
            with pytest.raises(OutcomeUnknownError, match=r"no answer came within 0\.20 s"):
                await store.beat(session, 1)
            with pytest.raises(StoreUnavailableError, match=r"there was no connection within 0\.20 s"):
                await store.beat(session, 2)
        finally:
            server.resume()
        store.call_timeout = 10.0
        await store.beat(session, 3)


async def test_a_long_list_does_not_hold_up_a_beat(server: Redis, url: str) -> None:
    """Each kind of call has a connection of its own, so a beat does not wait for its turn behind a list."""
    async with opened(url) as store:
        session = await session_of(store)
        turn = store._lines.others._turn
        await turn.acquire()
        await store.beat(session, 1)
        turn.release()


# -- certificates


@contextmanager
def encrypted(folder: Path, *, expired: bool = False) -> Iterator[tuple[Redis, Certificates, str]]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates = Certificates(folder / "certificates", expired_at=yesterday if expired else None)
    settings = {"bind": "127.0.0.1 127.0.0.2"}
    with Redis(folder / "server", settings=settings, certificates=certificates) as server:
        certificate, key = certificates.client("billing")
        files = f"cafile={certificates.authority}&certfile={certificate}&keyfile={key}"
        yield server, certificates, f"rediss://localhost:{server.tls_port}?{files}"


def reload_certificates(server: Redis, certificates: Certificates) -> None:
    server.demand("CONFIG", "SET", "tls-cert-file", str(certificates.certificate))


async def test_a_certificate_that_has_run_out_is_told_and_waited_for(tmp_path: Path) -> None:
    with encrypted(tmp_path, expired=True) as (server, certificates, url):
        assert "its certificate is not good (certificate has expired): renew it on the server" in await absence(url)
        certificates.renew()
        reload_certificates(server, certificates)
        async with opened(url) as store:
            await store.write("a", b"", expect=ABSENT)


async def test_a_certificate_of_a_stranger_is_refused(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (server, _, url):
        stranger = Certificates(tmp_path / "stranger").authority
        said = await refusal(f"rediss://localhost:{server.tls_port}?cafile={stranger}")
        assert "is not trusted (self-signed certificate in certificate chain): name its authority" in said
        assert "mismatch" in await refusal(url.replace("localhost", "127.0.0.2"))


async def test_the_lack_of_a_certificate_that_the_server_wants_is_told(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (server, certificates, _):
        said = await absence(f"rediss://localhost:{server.tls_port}?cafile={certificates.authority}")
        assert "TLS failed" in said or "which certificates it wants" in said


async def test_a_missing_file_is_named_and_waited_for_while_instances_run(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (server, certificates, url):
        async with opened(url) as store:
            await store.write("a", b"", expect=ABSENT)
            certificate, _ = certificates.client("billing")
            shutil.move(certificate, tmp_path / "away")
            server.demand("CLIENT", "KILL", "TYPE", "normal")
            with pytest.raises(StoreError):
                await store.read("a")
            with pytest.raises(StoreUnavailableError, match=f"{certificate}.*No such file"):
                await store.read("a")
            certificates.client("billing")
            assert await store.read("a") is not None
        shutil.move(tmp_path / "away", certificate)
        certificate.unlink()
        assert "No such file" in await refusal(url)


async def test_a_changed_certificate_of_ours_is_taken_up_by_the_next_connection(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (server, certificates, url):
        async with opened(url) as store:
            session = await session_of(store)
            certificates.client("billing", expired_at=datetime.now(UTC) - timedelta(days=1))
            await store.beat(session, 1)  # the connection that is there stays good
            server.demand("CLIENT", "KILL", "TYPE", "normal")
            for number in (2, 3):
                with pytest.raises(StoreError):
                    await store.beat(session, number)
            certificates.client("billing")
            await store.beat(session, 4)
