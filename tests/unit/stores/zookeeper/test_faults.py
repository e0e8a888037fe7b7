"""F44: what can be wrong with a ZooKeeper is one clear error each, and it works again when that is mended."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError, StoreError
from locum.names import random_id
from locum.scopes import Scope
from locum.store import ABSENT, ANY, MAX_VALUE
from locum.stores.address import Address
from locum.stores.zookeeper.options import OPTIONS, told_reader
from locum.testing.conformance import demand_server
from tests.disks import NEEDS_ROOT, small_disk
from tests.servers.certificates import Certificates
from tests.servers.server import free_port
from tests.servers.zookeeper import ZooKeeper
from tests.unit.stores.kit import PASSWORD, absence, made, opened, refusal, session_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from locum.store import Store

_ADD_WATCH = 106
_UNKNOWN = 199


@contextmanager
def own(folder: Path, settings: Mapping[str, str]) -> Iterator[ZooKeeper]:
    """A server for one test."""
    demand_server("zookeeper", ZooKeeper.is_installed())
    with ZooKeeper(folder, settings=settings) as server:
        yield server


# -- it was never right, or is not there


async def test_an_unknown_host_is_named() -> None:
    said = await absence("zookeeper://no-such-host.invalid")
    assert "its name is not known" in said
    assert "DNS" in said


async def test_nobody_who_listens_is_told() -> None:
    assert "it is not reached" in await absence(f"zookeeper://127.0.0.1:{free_port()}")


async def test_one_that_accepts_and_says_nothing_is_left_by_the_deadline() -> None:
    with silent() as port:
        said = await absence(f"zookeeper://127.0.0.1:{port}", timeout=0.2)
        assert "there was no connection within 0.20 s" in said


@contextmanager
def silent() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_one_that_speaks_something_else_is_told() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        said = await absence(f"zookeeper://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "what answers there is no ZooKeeper" in said


@pytest.mark.parametrize("root", ["/../locum", "/a//b", "/a/./b", "/a\x07", "/a%00b"])
async def test_a_root_that_can_be_none_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError):
        made(f"zookeeper://127.0.0.1{root}")


@pytest.mark.parametrize("option", ["reader=onlooker", "reader=digest:", "tick_time=2s", "tick_time=0"])
async def test_an_option_without_sense_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=option.partition("=")[0]):
        made(f"zookeeper://127.0.0.1?{option}")


def test_a_reader_may_be_written_as_zookeeper_names_it() -> None:
    address = Address.parse("zookeeper://a?reader=digest:onlooker:a+/b=", default_port=2181, options=OPTIONS)
    assert told_reader(address) == ("digest", "onlooker:a+/b=")


@asynccontextmanager
async def older(server: ZooKeeper) -> AsyncIterator[int]:
    """The server, as one before 3.6: the request for a persistent watch is of a kind that it does not know."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool) -> None:
        try:
            with suppress(OSError, EOFError):
                begins = True
                while True:
                    (length,) = struct.unpack("!i", head := await reader.readexactly(4))
                    text = await reader.readexactly(length)
                    if asks and not begins and struct.unpack_from("!i", text, 4)[0] == _ADD_WATCH:
                        text = text[:4] + struct.pack("!i", _UNKNOWN) + text[8:]
                    begins = False
                    writer.write(head + text)
        finally:
            writer.transport.abort()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, over = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(carry(reader, over, asks=True), carry(there, writer, asks=False))
        finally:
            writer.transport.abort()

    # of a scope: a task of the server's own outlives it, and left its sockets to whoever came next
    async with Scope("proxy") as scope:
        proxy = await asyncio.start_server(
            lambda reader, writer: scope.spawn(connect(reader, writer), name="connection"), "127.0.0.1", 0
        )
        try:
            yield proxy.sockets[0].getsockname()[1]
        finally:
            proxy.close()


async def test_one_that_is_too_old_is_refused(server: ZooKeeper, root: str) -> None:
    async with older(server) as port:
        assert "it is older than ZooKeeper 3.6" in await refusal(f"zookeeper://127.0.0.1:{port}{root}")


# -- what it says of itself


@pytest.mark.parametrize(
    ("words", "options", "tick"),
    [("srvr,conf", "", 600), ("srvr", "", 400), ("srvr", "?tick_time=700", 700)],
    ids=["conf", "half-of-the-least-timeout", "told"],
)
async def test_the_tick_is_taken_off_whatever_the_least_timeout_is(
    tmp_path: Path, words: str, options: str, tick: int
) -> None:
    settings = {"tickTime": "600", "minSessionTimeout": "800", "4lw.commands.whitelist": f"ruok,{words}"}
    with own(tmp_path, settings) as server:
        async with opened(f"zookeeper://127.0.0.1:{server.port}{options}") as store:
            info = await store.open_session(b"me", nanoseconds(3), random_id())
            assert seconds(info.ttl) == 3
            lag = store._lag  # type: ignore[attr-defined]
            assert lag == tick
            least = await store.open_session(b"me", nanoseconds(0.1), random_id())
            assert seconds(least.ttl) == max(0.5, (800 - tick) / 1000) == store.guarantees().least_ttl


async def test_a_longest_timeout_that_leaves_no_lease_is_named(tmp_path: Path) -> None:
    with own(tmp_path, {"tickTime": "500", "minSessionTimeout": "400", "maxSessionTimeout": "900"}) as server:
        async with opened(f"zookeeper://127.0.0.1:{server.port}") as store:
            with pytest.raises((StoreError, ConfigurationError), match="raise its maxSessionTimeout"):
                await session_of(store)


async def test_the_version_is_told_where_the_server_tells_it(server: ZooKeeper, root: str) -> None:
    async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as store:
        assert (await store.health()).version.startswith("ZooKeeper 3.")


# -- several servers


async def test_a_dead_server_and_one_that_says_nothing_cost_no_call(server: ZooKeeper, root: str) -> None:
    with silent() as port:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{port},127.0.0.1:{server.port}"
        for _ in range(6):  # they are tried in any order
            async with opened(f"zookeeper://{hosts}{root}") as store:
                store.call_timeout = 3.0
                session = await session_of(store)
                await store.beat(session, 1)


# -- huge values


async def test_what_is_as_large_as_it_may_be_is_kept(server: ZooKeeper, root: str) -> None:
    async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as store:
        session = random_id()
        await store.open_session(bytes(MAX_VALUE // 4), nanoseconds(3), session)
        for number in range(24):  # together more than one answer of the server may have
            await store.write(f"p/{number}", bytes(MAX_VALUE), expect=ABSENT, session=session)
        assert sum(len(record.value) for record in (await store.list("p/")).records) == 24 * MAX_VALUE
        await store.close_session(session, reason=bytes(1000))
        assert (await store.list("p/")).records == []


# -- it was right once, and is waited for


@NEEDS_ROOT
async def test_a_full_disk_changes_nothing_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """ZooKeeper ends when it cannot write its log."""
    small = small_disk(tmp_path / "disk")
    with small as disk, own(tmp_path / "server", {"dataDir": str(disk / "data")}) as server:
        async with opened(f"zookeeper://127.0.0.1:{server.port}") as store:
            session = await session_of(store)
            filler = disk / "filler"
            filler.write_bytes(bytes(shutil.disk_usage(disk).free - 64 * 1024))
            with pytest.raises(StoreError):
                await fill(store)
            with pytest.raises(StoreError, match=r"it is not reached|it hung up|no connection|it cut"):
                await store.beat(session, 1)
            filler.unlink()
            server.restart()
            await until_it_answers(store)
            await store.write("p/last", b"", expect=ANY)


async def fill(store: Store) -> None:
    for number in range(200):
        await store.write(f"p/{number}", bytes(7000), expect=ANY)


async def until_it_answers(store: Store) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(StoreError):
                await store.health()
                return


# -- TLS


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@contextmanager
def encrypted(folder: Path, certificates: Certificates, *, client: bool = False) -> Iterator[ZooKeeper]:
    demand_server("zookeeper", ZooKeeper.is_installed())
    settings = {"ssl.clientAuth": "need" if client else "none"}
    with ZooKeeper(folder / "server", certificates=certificates, settings=settings) as server:
        yield server


def over_tls(server: ZooKeeper, options: str, host: str = "localhost") -> str:
    return f"zookeeper://billing:{PASSWORD}@{host}:{server.tls_port}?{options}"


async def test_a_login_and_all_that_follows_go_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    with encrypted(tmp_path, certificates) as server:
        async with opened(over_tls(server, f"cafile={certificates.authority}")) as store:
            session = await session_of(store)
            await store.beat(session, 1)
            assert (await store.health()).version.startswith("ZooKeeper 3.")
        stranger = Certificates(tmp_path / "stranger").authority
        said = await refusal(over_tls(server, f"cafile={stranger}"))
        assert "its certificate is not trusted" in said
        assert "cafile" in said
        plain = await absence(f"zookeeper://localhost:{server.port}?cafile={certificates.authority}")
        assert "if it speaks TLS" in plain or "whether it speaks TLS" in plain


async def test_an_expired_certificate_is_named_and_its_renewal_taken_up(tmp_path: Path) -> None:
    old = Certificates(tmp_path / "old", expired_at=datetime.now(UTC) - timedelta(days=1))
    with encrypted(tmp_path, old) as server:
        url = over_tls(server, f"cafile={old.authority}")
        assert "its certificate is not good (certificate has expired): renew it on the server" in await absence(url)
        old.renew()
        server.restart()
        async with opened(url) as store:
            await session_of(store)


async def test_a_certificate_of_ours_is_taken_up_when_it_is_renewed(tmp_path: Path, certificates: Certificates) -> None:
    certificate, key = certificates.client("billing")
    with encrypted(tmp_path, certificates, client=True) as server:
        without = await absence(over_tls(server, f"cafile={certificates.authority}"))
        assert "which certificates it wants" in without or "it hung up" in without
        files = f"cafile={certificates.authority}&certfile={certificate}&keyfile={key}"
        async with opened(over_tls(server, files)) as store:
            session = await session_of(store)
            certificates.client("billing", expired_at=datetime.now(UTC) - timedelta(days=1))
            await store.beat(session, 1)  # the connection that is there stays good
            server.restart()
            for number in (2, 3):
                with pytest.raises(StoreError):
                    await store.beat(session, number)
            certificates.client("billing")
            await until_it_answers(store)
            await store.beat(session, 4)
