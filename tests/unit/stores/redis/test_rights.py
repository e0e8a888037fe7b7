"""Users: the two of the store's page have the rights that they need, and a password is changed while it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.errors import ConfigurationError, StoreError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY
from locum.testing.conformance import demand_server
from tests.servers.redis import Redis, documented
from tests.unit.stores.kit import PASSWORD, TTL
from tests.unit.stores.redis.kit import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """The server, with the two users of the store's page."""
    demand_server("redis", Redis.is_installed())
    users = {name: (PASSWORD, documented(name)) for name in ("billing", "onlooker")}
    with Redis(tmp_path_factory.mktemp("redis") / "server", users=users) as server:
        yield server


def as_user(name: str, server: Redis) -> str:
    return f"redis://{name}:{PASSWORD}@127.0.0.1:{server.port}"


async def test_the_user_of_an_instance_needs_no_more_than_the_page_grants(server: Redis) -> None:
    """The whole contract, as this user: tests/conformance/test_rediss.py."""
    async with opened(as_user("billing", server)) as store:
        assert store.guarantees().durable, "it may read appendfsync"
        await store.open_session(b"me", TTL, random_id())


DOES_WITHOUT = {
    "+config|get": "it counts as one that may lose writes",
    "+eval": "another has brought the scripts already",
    "+ping": "asked only where nothing else was heard",
    "+select": "only for other databases than 0",
    "+subscribe": "it looks every few seconds",
}


@pytest.mark.parametrize("lacking", sorted({word for word in documented("billing").split() if word[0] == "+"}))
async def test_whoever_lacks_a_right_is_refused_before_anything_is_written(server: Redis, lacking: str) -> None:
    async with opened(as_user("billing", server)) as store:
        await store.open_session(b"me", TTL, random_id())
    rights = documented("billing").replace(lacking, "", 1).replace("&{locum}*", "resetchannels &{locum}*").split()
    server.demand("ACL", "SETUSER", "poorer", "reset", "on", f">{PASSWORD}", *rights)
    before = server.demand("EVAL", "return redis.call('HGET', '{locum}:store', 'revision')", "0")
    if lacking in DOES_WITHOUT:
        async with opened(as_user("poorer", server)) as store:
            await store.open_session(b"me", TTL, random_id())
        return
    with pytest.raises(ConfigurationError, match="see the rights in the documentation"):
        await _session(as_user("poorer", server))
    assert server.demand("EVAL", "return redis.call('HGET', '{locum}:store', 'revision')", "0") == before


async def _session(url: str) -> None:
    async with opened(url) as store:
        await store.open_session(b"me", TTL, random_id())


async def test_whoever_may_only_look_sees_everything_and_changes_nothing(server: Redis) -> None:
    async with opened(as_user("billing", server)) as store, opened(as_user("onlooker", server)) as onlooker:
        session = random_id()
        await store.open_session(b"me", TTL, session)
        record = await store.write("p/a", b"", expect=ABSENT, session=session)
        assert await onlooker.read("p/a") == record
        assert list((await onlooker.list("p/")).records) == [record]
        assert (await onlooker.sessions()).by_id == (await store.sessions()).by_id
        assert onlooker.guarantees() == store.guarantees()
        await onlooker.health()
        async with onlooker.changes(["p/"]) as changes:
            await store.write("p/a", b"new", expect=ANY)
            while not (await anext(changes)).keys:
                pass
        seen = (await store.sessions()).revision
        for change in (
            onlooker.write("p/a", b"", expect=ANY),
            onlooker.delete("p/a", expect=ANY),
            onlooker.close_session(session, reason=b""),
            onlooker.open_session(b"me", TTL, random_id()),
            onlooker.beat(session, 1),
        ):
            with pytest.raises(
                (StoreUnavailableError, ConfigurationError), match="its user may not do that: see the rights"
            ):
                await change
        assert (await store.sessions()).revision == seen


async def test_whoever_may_only_look_makes_no_store(server: Redis) -> None:
    with pytest.raises(ConfigurationError, match="there is no store yet, and this user may not make one"):
        async with opened(as_user("onlooker", server)):
            pass
    assert server.demand("DBSIZE") == ":0"


async def test_a_changed_password_is_taken_up_by_the_next_connection(server: Redis, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    async with opened(f"redis://billing@127.0.0.1:{server.port}?password_file={file}") as store:
        session = random_id()
        await store.open_session(b"me", TTL, session)
        try:
            server.demand("ACL", "SETUSER", "billing", ">an0ther", f"<{PASSWORD}")
            await store.beat(session, 1)  # the connection that is there stays good
            server.demand("CLIENT", "KILL", "USER", "billing")
            with pytest.raises(StoreError):
                await store.beat(session, 2)
            with pytest.raises(StoreUnavailableError, match="refuses this user or password") as refusal:
                await store.beat(session, 3)  # it was right once, and will be again
            assert PASSWORD not in str(refusal.value)
            file.write_text("an0ther\n")
            await store.beat(session, 4)
        finally:
            server.demand("ACL", "SETUSER", "billing", f">{PASSWORD}", "<an0ther")
