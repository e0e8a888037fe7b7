"""The rights of the store's page suffice, those of an onlooker for looking, and a password is said nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.errors import ConfigurationError, StoreError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY
from locum.stores.zookeeper import protocol
from tests.servers.acls import all_under, identity, logged_in, rights, set_rights
from tests.unit.cli.kit import locum
from tests.unit.stores.kit import PASSWORD, made, opened, refusal, session_of, use

if TYPE_CHECKING:
    from tests.servers.zookeeper import ZooKeeper

PAGE = Path(__file__).parents[4] / "docs/stores/zookeeper.md"


def documented() -> tuple[str, str]:
    """What the store's page gives an instance and an onlooker: letters of the rights on the root."""
    found = re.search(
        r"^create /locum \"\" digest:billing:HASH:(\w+),digest:onlooker:HASH:(\w+)$", PAGE.read_text(), re.M
    )
    assert found is not None
    return found[1], found[2]


def as_user(name: str, server: ZooKeeper, root: str, options: str = "") -> str:
    return f"zookeeper://{name}:{PASSWORD}@127.0.0.1:{server.port}{root}{options}"


def with_a_reader(name: str = "onlooker") -> str:
    return f"?reader=digest:{identity(name, PASSWORD)}"


async def root_of(server: ZooKeeper, root: str) -> None:
    """Make the root, as the store's page says."""
    billing, onlooker = documented()
    given = {identity("billing", PASSWORD): billing, identity("onlooker", PASSWORD): onlooker}
    async with logged_in(server) as connection:
        await connection.ask(protocol.create(root, b"", rights(given)))


async def test_the_rights_of_the_page_suffice_below_a_root_that_was_made_before(server: ZooKeeper, root: str) -> None:
    await root_of(server, root)
    async with opened(as_user("billing", server, root)) as store:
        await use(store)


async def test_what_is_made_with_a_login_is_nobody_elses(server: ZooKeeper, root: str) -> None:
    async with opened(as_user("billing", server, root)):
        pass
    for stranger in (as_user("onlooker", server, root), f"zookeeper://127.0.0.1:{server.port}{root}"):
        assert "its user may not do that, or the password is another one" in await refusal(stranger)


async def test_a_wrong_password_is_one_sentence_without_it(server: ZooKeeper, root: str) -> None:
    async with opened(as_user("billing", server, root)):
        pass
    with pytest.raises(ConfigurationError, match="or the password is another one") as refused:
        async with opened(f"zookeeper://billing:{PASSWORD[::-1]}@127.0.0.1:{server.port}{root}"):
            raise AssertionError("it must not be open")
    assert PASSWORD[::-1] not in str(refused.value)


async def test_whoever_may_only_look_sees_everything_and_changes_nothing(server: ZooKeeper, root: str) -> None:
    await root_of(server, root)
    async with (
        opened(as_user("billing", server, root, with_a_reader())) as store,
        opened(as_user("onlooker", server, root)) as onlooker,
    ):
        session = await session_of(store)
        record = await store.write("p/a", b"", expect=ABSENT, session=session)
        assert await onlooker.read("p/a") == record
        assert list((await onlooker.list("p/")).records) == [record]
        assert (await onlooker.sessions()).by_id == (await store.sessions()).by_id
        await onlooker.health()
        async with onlooker.changes(["p/"]) as changes:
            await store.write("p/a", b"new", expect=ANY)
            while not (await anext(changes)).keys:
                pass
        seen = (await store.sessions()).revision
        for change in (
            onlooker.write("p/a", b"", expect=ANY),
            onlooker.close_session(session, reason=b""),
            onlooker.open_session(b"me", nanoseconds(3), random_id()),
        ):
            with pytest.raises(StoreUnavailableError, match="its user may not do that"):
                await change
        assert (await store.sessions()).revision == seen


async def test_whoever_may_only_look_takes_what_has_expired_for_closed(server: ZooKeeper, root: str) -> None:
    """Nobody has written its tombstone, and who only looks may not."""
    await root_of(server, root)
    dead = made(as_user("billing", server, root, with_a_reader()))
    await dead.open()
    session = random_id()
    await dead.open_session(b"me", nanoseconds(0.5), session)
    await dead.write("p/a", b"", expect=ABSENT, session=session)
    await dead.close()  # its connection is gone, and soon its ZooKeeper session
    async with opened(as_user("onlooker", server, root)) as onlooker:
        async with onlooker.changes(["p/"]) as changes:
            while (await onlooker.sessions()).by_id:
                await anext(changes)
        status = (await onlooker.sessions([session])).by_id[session]
        assert status.is_closed
        assert b"has expired" in status.reason
        assert await onlooker.read("p/a") is None
        assert (await onlooker.list("p/")).records == []


async def test_an_onlooker_is_enough_for_status(server: ZooKeeper, root: str, tmp_path: Path) -> None:
    await root_of(server, root)
    async with opened(as_user("billing", server, root, with_a_reader())) as store:
        await session_of(store)
    said = locum(tmp_path, "status", "--store", as_user("onlooker", server, root), "--namespace", "billing")
    assert (said.code, said.err) == (0, "")
    assert PASSWORD not in said.out


async def test_a_changed_password_is_taken_up_by_the_next_connection(
    server: ZooKeeper, root: str, tmp_path: Path
) -> None:
    """To ZooKeeper another password is another identity, which the nodes are to know."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    async with opened(f"zookeeper://billing@127.0.0.1:{server.port}{root}?password_file={file}") as store:
        session = await session_of(store)
        file.write_text("an0ther\n")
        await store.beat(session, 1)  # the connection that is there stays good
        server.restart()
        with pytest.raises(StoreError):
            await store.beat(session, 2)
        with pytest.raises(StoreUnavailableError, match="or the password is another one"):
            await store.beat(session, 3)  # it was right once, and will be again
        async with logged_in(server, f"billing:{PASSWORD}") as owner:
            for path in await all_under(owner, root):
                await set_rights(owner, path, {identity("billing", "an0ther"): "cdrwa"})
        await store.beat(session, 4)
