"""What a call costs, counted by the server: whatever belongs together travels together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from locum.names import random_id
from locum.store import ABSENT
from tests.unit.stores.kit import TTL, opened, session_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.servers.zookeeper import ZooKeeper

T = TypeVar("T")
LOOK = 3  # to catch up, the nodes, and children: three packets of one trip
CHANGE = 1
ITSELF = 1  # the second question is counted too


def packets(server: ZooKeeper) -> int:
    said = server.ask("mntr")
    return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("zk_packets_received"))


async def cost(server: ZooKeeper, call: Awaitable[T]) -> tuple[int, T]:
    before = packets(server)
    made = await call
    return packets(server) - before - ITSELF, made


async def test_a_look_and_the_change_that_stands_on_it(server: ZooKeeper, root: str) -> None:
    async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as store:
        mine, theirs = await session_of(store), await session_of(store)
        held = await store.write("grant/a", b"", expect=ABSENT)  # with its folder, that is more
        await store.close_session(theirs, reason=b"")
        taking = store.write("grant/a", b"mine", expect=held.revision, if_open=mine, if_gone=theirs)
        asked, taken = await cost(server, taking)
        assert asked == LOOK + CHANGE, "the guards were not looked at together with the key"
        asked, _ = await cost(server, store.write("grant/a", b"", expect=taken.revision))
        assert asked == LOOK + CHANGE
        asked, _ = await cost(server, store.beat(mine, 1))
        assert asked == LOOK - 1 + CHANGE
        asked, _ = await cost(server, store.close_session(mine, reason=b""))
        assert asked == LOOK + CHANGE


async def test_an_open_session(server: ZooKeeper, root: str) -> None:
    async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as store:
        connecting = 1
        asked, _ = await cost(server, store.open_session(b"", TTL, random_id()))
        assert asked == connecting + LOOK - 1 + CHANGE


@pytest.mark.parametrize("many", [1, 20])
async def test_looks_at_many_are_as_dear_as_at_one(server: ZooKeeper, root: str, many: int) -> None:
    async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as store:
        ids = [await session_of(store) for _ in range(many)]
        for at in range(many):
            await store.write(f"node/{at}", b"", expect=ABSENT, session=ids[0])
        asked, named = await cost(server, store.sessions(ids))
        assert asked == LOOK - 1
        asked, found = await cost(server, store.sessions())
        assert asked == LOOK + LOOK - 1
        assert set(named.by_id) == set(found.by_id) == set(ids)
        asked, listing = await cost(server, store.list("node/"))
        assert asked == 2 * LOOK
        assert [record.key for record in listing.records] == [f"node/{at}" for at in range(many)]
