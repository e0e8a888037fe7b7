"""Watches of nodes behind lost and doubled wake-ups, and stores that go away."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.coordination.election import Office
from locum.coordination.nodes import Node, Nodes
from locum.errors import ConfigurationError, CorruptRecordError
from locum.scopes import Scope
from locum.store import ANY
from locum.stores.memory import MemoryServer
from locum.testing.conformance.nodes import nodes_of
from tests.unit.coordination.lossy import LossyStore, on
from tests.unit.kit import instance, soon
from tests.watches import NodesShown, change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


CHANGES = 1_000
REST = 50  # so many changes follow each other at once; then what is there lasts


@pytest.mark.parametrize("seed", range(2))
async def test_f67_the_last_state_of_1000_changes_is_seen_in_order(seed: int) -> None:
    chance, server = random.Random(seed), MemoryServer("f67", clock=Clock())
    async with (
        on(LossyStore(server, chance), "watcher") as watcher,
        on(LossyStore(server, chance), "writer") as writer,
        Scope("watch") as scope,
    ):
        store, nodes = watcher.store, nodes_of(writer)
        assert isinstance(store, LossyStore)
        shown = NodesShown(nodes_of(watcher), scope)
        lasting: list[Node] = []
        for at in range(1, CHANGES + 1):
            await change(nodes, f"x/{chance.randrange(4)}", chance)
            if at % 7 == 0:
                await asyncio.sleep(0)
            if at % REST == REST // 2:
                store.cut()
            if at % REST == 0:
                store.mend()
                store.loses_all = at % (2 * REST) == 0
                one = await nodes.get("x/0")
                await shown.until(one, await nodes.list("x"))
                lasting += [one] if one else []
        store.loses_all = True
        await writer.leases.die("was killed")
        left = await nodes_of(watcher).list("x")
        assert all(node.lasts for node in left)
        await shown.until(next((node for node in left if node.path == "x/0"), None), left)
    shown.judge(lasting)
    assert store.lost > 0
    assert store.doubled > 0


async def test_the_watch_of_an_election_needs_no_wake_up() -> None:
    chance, server = random.Random(0), MemoryServer("offices", clock=Clock())
    async with (
        on(LossyStore(server, chance), "watcher") as watcher,
        on(LossyStore(server, chance), "leader") as leader,
    ):
        assert isinstance(watcher.store, LossyStore)
        watcher.store.loses_all = True
        seen = watcher.election("settlement").watch()
        assert await soon(anext(seen)) is None
        term = await soon(leader.election("settlement").win())
        assert await soon(anext(seen)) == Office("leader", 1, None)
        await leader.election("settlement").resign(term, "resigned")
        assert await soon(anext(seen)) is None
        await seen.aclose()  # type: ignore[attr-defined]


async def test_a_watch_goes_on_in_a_store_that_was_replaced(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one, instance(tmp_path / "store.db", "other") as other:
        states = nodes_of(one).watch("a")
        made = await nodes_of(one).create("a", b"1")
        assert await soon(anext(states)) == made
        await other.store.renew(max_ttl=1)
        one.leases.lose("the store was replaced")
        async with Scope("watch") as scope:
            seeing = scope.spawn(_next(states), name="watch")
            one.leases._store = other.store  # a keeper has a connection of its own
            await one.leases.begin()
            written = await nodes_of(other).set("a", b"2")
            assert await soon(seeing) == written


async def test_a_record_that_is_no_node_hides_no_others(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one:
        nodes = nodes_of(one)
        await one.store.write("node/x/torn", b"short", expect=ANY)
        made = await nodes.create("x/whole")
        assert await nodes.list("x") == (made,)
        with pytest.raises(CorruptRecordError, match="node/x/torn is not readable"):
            await nodes.get("x/torn")
        assert (await nodes.set("x/torn", b"")).path == "x/torn"


async def test_without_a_session_none_is_bound_to_one(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one:
        nodes = Nodes(one.store, accept=one.commons.session)
        with pytest.raises(ConfigurationError, match="there is none here; make it by a coordinator"):
            await nodes.create("a", session_bound=True)


async def _next(states: AsyncIterator[Node | None]) -> Node | None:
    return await anext(states)
