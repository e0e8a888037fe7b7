"""F44: what can be wrong with a PostgreSQL is one clear error each, and it works again when that is mended."""

from __future__ import annotations

import asyncio
import shutil
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import randbytes
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.errors import StoreError, StoreUnavailableError
from locum.registry import open_when_there
from locum.store import ANY
from locum.testing.conformance import demand_server
from tests.disks import NEEDS_ROOT, small_disk
from tests.faults.kit.waiting import LONG, until
from tests.servers.certificates import Certificates
from tests.servers.postgresql import Postgresql, Schema, shared
from tests.servers.server import free_port
from tests.unit.stores.kit import PASSWORD, absence, made, opened, refusal, session_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from locum.store import Store


@pytest.fixture
def schema() -> Iterator[Schema]:
    """An empty schema on a server for all, and a role of the same name that may make it."""
    demand_server("postgresql", Postgresql.is_installed())
    schema = Schema(shared())
    schema.server.run(
        f"CREATE ROLE {schema.name} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT CREATE ON DATABASE postgres TO {schema.name}",
    )
    yield schema
    schema.server.run(f"ALTER ROLE {schema.name} RESET ALL")
    schema.drop()
    schema.server.run(f"DROP OWNED BY {schema.name}", f"DROP ROLE {schema.name}")


def hang_up_on(schema: Schema) -> None:
    """Cut all connections of the schema's own role."""
    mine = f"FROM pg_stat_activity WHERE usename = '{schema.name}'"
    schema.server.run(f"SELECT pg_terminate_backend(pid) {mine}")
    until(lambda: schema.server.run(f"SELECT count(*) {mine}") == [(0,)], "the end of all connections")


# -- it was never right, or is not there


async def test_what_is_wrong_in_the_url_is_named(schema: Schema) -> None:
    place = f"{schema.name}:{PASSWORD}@127.0.0.1:{schema.server.port}"
    assert "it has no such database: create it" in await refusal(f"postgresql://{place}/nowhere")
    assert "refuses this user or password" in await refusal(
        f"postgresql://nobody:{PASSWORD}@127.0.0.1:{schema.server.port}/postgres"
    )


async def test_an_unknown_host_is_named() -> None:
    said = await absence("postgresql://no-such-host.invalid/billing")
    assert "its name is not known" in said
    assert "DNS" in said


async def test_nobody_who_listens_is_told() -> None:
    assert "it is not reached" in await absence(f"postgresql://127.0.0.1:{free_port()}/billing")


async def test_one_that_accepts_and_says_nothing_is_left_by_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = await absence(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/billing", timeout=0.2)
        assert "there was no connection within 0.20 s" in said


async def test_a_standby_is_told_and_its_primary_found_beside_it() -> None:
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql() as primary, Postgresql(standby_of=primary) as standby:
        login, path = f"owner:{primary.password}", "postgres?schema=beside"
        async with opened(f"postgresql://{login}@127.0.0.1:{primary.port}/{path}"):
            pass
        said = await absence(f"postgresql://{login}@127.0.0.1:{standby.port}/{path}")
        assert "it is a standby, which cannot be written to: name its primary" in said
        both = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        async with opened(f"postgresql://{login}@{both}/{path}") as store:
            session = await session_of(store)
            primary.kill()
            with pytest.raises(StoreError):
                await store.beat(session, 1)
            with pytest.raises(StoreUnavailableError, match=r"standby|not reached"):
                await store.beat(session, 2)
            standby.promote()
            async with asyncio.timeout(LONG):  # what it has followed may lack the last of it
                await until_it_answers(store)


async def until_it_answers(store: Store) -> None:
    while True:
        try:
            await store.adopt(max_ttl=1)
        except StoreError:
            continue
        return


# -- it was right once, and is waited for


async def test_a_changed_password_is_taken_up_by_the_next_connection(schema: Schema, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    place = f"127.0.0.1:{schema.server.port}/postgres?schema={schema.name}&password_file={file}"
    async with opened(f"postgresql://{schema.name}@{place}") as store:
        session = await session_of(store)
        schema.server.run(f"ALTER ROLE {schema.name} PASSWORD 'an0ther'")
        await store.beat(session, 1)  # the connection that is there stays good
        hang_up_on(schema)
        with pytest.raises(StoreError, match=r"ended the connection"):
            await store.beat(session, 2)
        with pytest.raises(StoreUnavailableError, match="refuses this user or password") as refused:
            await store.beat(session, 3)  # it was right once, and will be again
        assert PASSWORD not in str(refused.value)
        file.write_text("an0ther\n")
        await store.beat(session, 4)


@pytest.mark.parametrize(
    ("broken", "mended", "said"),
    [
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only", "it cannot be written to"),
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1", "it has no room for another connection"),
    ],
    ids=["read-only", "no-room"],
)
async def test_what_goes_wrong_meanwhile_changes_nothing_and_is_waited_for(
    schema: Schema, broken: str, mended: str, said: str
) -> None:
    async with opened(schema.url(user=schema.name, password=PASSWORD)) as store:
        session = await session_of(store)
        schema.server.run(f"ALTER ROLE {schema.name} {broken}")
        hang_up_on(schema)
        with pytest.raises(StoreError):
            await store.beat(session, 1)
        with pytest.raises(StoreUnavailableError, match=said):
            await store.beat(session, 2)
        schema.server.run(f"ALTER ROLE {schema.name} {mended}")
        hang_up_on(schema)  # a connection's settings are those of its beginning
        with suppress(StoreError):
            await store.beat(session, 3)
        await store.beat(session, 4)
        assert (await store.sessions()).by_id[session].beat == 4


@NEEDS_ROOT
async def test_a_full_disk_changes_nothing_and_it_goes_on_by_itself() -> None:
    demand_server("postgresql", Postgresql.is_installed())
    with _disk(kilobytes=2048) as disk, Postgresql() as server:
        space = disk / "space"
        space.mkdir()
        shutil.chown(space, server.user or "root")
        schema = Schema(server)
        async with opened(schema.url()) as store:
            session = await session_of(store)
            server.run(
                f"CREATE TABLESPACE small LOCATION '{space}'", f"ALTER TABLE {schema.name}.records SET TABLESPACE small"
            )
            (disk / "filler").write_bytes(bytes(_room(disk)))
            with pytest.raises(StoreUnavailableError, match="its disk is full: free some space there"):
                await fill(store)
            await store.beat(session, 1)  # what has its place stays there
            before = await store.list("p/")
            (disk / "filler").unlink()
            await store.write("p/last", randbytes(7000), expect=ANY)
            assert len((await store.list("p/")).records) == len(before.records) + 1


@contextmanager
def _disk(*, kilobytes: int) -> Iterator[Path]:
    """A disk in a folder into which the server may go, which is another user."""
    with TemporaryDirectory(prefix="locum-disk-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with small_disk(folder / "disk", kilobytes=kilobytes) as disk:
            yield disk


async def fill(store: Store) -> None:
    """Write more than there is room for, and nothing that could be compressed."""
    for number in range(200):
        await store.write(f"p/{number}", randbytes(7000), expect=ANY)


def _room(disk: Path) -> int:
    return shutil.disk_usage(disk).free - 64 * 1024


# -- TLS


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@asynccontextmanager
async def encrypted(certificates: Certificates, *, client: bool = False) -> AsyncIterator[Postgresql]:
    """A server that takes nothing but TLS, and a client with a certificate only if that is wanted."""
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql(certificates=certificates) as server:
        wanted = " clientcert=verify-ca" if client else ""
        hba = server.data / "pg_hba.conf"
        plain = "hostnossl all owner 127.0.0.1/32 scram-sha-256"  # the tests' own way in
        hba.write_text(f"{plain}\nhostssl all all 127.0.0.1/32 scram-sha-256{wanted}\n")
        server.run(f"CREATE ROLE billing LOGIN SUPERUSER PASSWORD '{PASSWORD}'", "SELECT pg_reload_conf()")
        yield server


def over_tls(server: Postgresql, options: str) -> str:
    return f"postgresql://billing:{PASSWORD}@localhost:{server.port}/postgres?{options}"


async def test_whoever_must_speak_tls_does(certificates: Certificates) -> None:
    async with encrypted(certificates) as server:
        assert "does not let this user in" in await refusal(over_tls(server, "tls=off"))
        async with opened(over_tls(server, f"cafile={certificates.authority}")) as store:
            await session_of(store)
            spoken = server.run(
                "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'billing'"
            )
            assert spoken == [(True,)]


async def test_a_certificate_of_a_stranger_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    stranger = Certificates(tmp_path / "stranger")
    async with encrypted(certificates) as server:
        said = await refusal(over_tls(server, f"cafile={stranger.authority}"))
        assert "its certificate is not trusted" in said
        assert "cafile" in said


async def test_an_expired_certificate_is_named_and_its_renewal_taken_up(tmp_path: Path) -> None:
    old = Certificates(tmp_path / "old", expired_at=datetime.now(UTC) - timedelta(days=1))
    async with encrypted(old) as server:
        url = over_tls(server, f"cafile={old.authority}")
        assert "its certificate is not good (certificate has expired): renew it on the server" in await absence(url)
        old.renew()
        shutil.copyfile(old.certificate, server.settings["ssl_cert_file"])
        shutil.copyfile(old.key, server.settings["ssl_key_file"])
        server.run("SELECT pg_reload_conf()")
        store = made(url)
        async with asyncio.timeout(LONG):  # the server reads its files in its own time
            await open_when_there(store, clock=Clock(), told=lambda _: None)
        await session_of(store)
        await store.close()


async def test_a_certificate_of_ours_is_taken_up_when_it_is_renewed(certificates: Certificates) -> None:
    certificate, key = certificates.client("billing")
    async with encrypted(certificates, client=True) as server:
        own = f"cafile={certificates.authority}"
        assert "does not let this user in" in await refusal(over_tls(server, own))
        async with opened(over_tls(server, f"{own}&certfile={certificate}&keyfile={key}")) as store:
            session = await session_of(store)
            certificates.client("billing", expired_at=datetime.now(UTC) - timedelta(days=1))
            await store.beat(session, 1)  # the connection that is there stays good
            server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing'")
            with pytest.raises(StoreError):
                await store.beat(session, 2)
            with pytest.raises(StoreError):
                await store.beat(session, 3)
            certificates.client("billing")
            await store.beat(session, 4)
