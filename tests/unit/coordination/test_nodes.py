"""Watches of nodes behind lost and doubled wake-ups, and stores that go away."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, TypeVar

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
from tests.unit.kit import LONG, instance, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


S = TypeVar("S")

CHANGES = 1_000
REST = 50  # so many changes follow each other at once; then what is there lasts


class Watching:
    """What two watches have shown: of one node, and of its folder."""

    def __init__(self, nodes: Nodes, scope: Scope) -> None:
        self.one: list[Node | None] = []
        self.folder: list[tuple[Node, ...]] = []
        self._news = asyncio.Event()
        scope.spawn(self._see(nodes.watch("x/0"), self.one), name="one")
        scope.spawn(self._see(nodes.watch_list("x"), self.folder), name="folder")

    async def _see(self, states: AsyncIterator[S], shown: list[S]) -> None:
        async for state in states:
            shown.append(state)
            self._news.set()

    async def until(self, one: Node | None, folder: tuple[Node, ...]) -> None:
        """Wait until the last that was shown is this."""
        try:
            async with asyncio.timeout(LONG):
                while self.one[-1:] != [one] or self.folder[-1:] != [folder]:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"the last state never came: {one} {folder}") from None


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
        watching = Watching(nodes_of(watcher), scope)
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
                await watching.until(one, await nodes.list("x"))
                lasting += [one] if one else []
        store.loses_all = True
        await writer.leases.die("was killed")
        left = await nodes_of(watcher).list("x")
        assert all(node.lasts for node in left)
        await watching.until(next((node for node in left if node.path == "x/0"), None), left)
    versions = [node.version for node in watching.one if node is not None]
    assert versions == sorted(set(versions)), "versions in order, and none twice"
    assert {node.version for node in lasting} <= set(versions), "no lasting change was missed"
    assert all(before != after for before, after in itertools.pairwise(watching.folder))
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


async def change(nodes: Nodes, path: str, chance: random.Random) -> None:
    """Write, delete, or make one: a lasting one or one that is bound to the session."""
    if await nodes.get(path) is None:
        await nodes.create(path, b"made", session_bound=chance.random() < 0.5)
    elif chance.random() < 0.3:
        await nodes.delete(path)
    else:
        await nodes.set(path, chance.randbytes(8))


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
