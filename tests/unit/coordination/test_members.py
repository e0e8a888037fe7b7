"""Members behind lost and doubled wake-ups and lost sessions, and what cannot be one."""

from __future__ import annotations

import asyncio
import functools
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.coordination.members import Difference, Member, difference
from locum.coordination.naming import Endpoint, active_of
from locum.coordination.nodes import Node
from locum.errors import ConfigurationError, CorruptRecordError
from locum.scopes import Scope
from locum.store import ANY
from locum.stores.memory import MemoryServer
from locum.testing.conformance.members import members_of
from tests.unit.coordination.lossy import LossyStore, on
from tests.unit.kit import LONG, instance, soon
from tests.watches import Joining, MembersShown, all_back

if TYPE_CHECKING:
    from pathlib import Path

    from locum.testing.instances import Instance

CHANGES = 1_000
REST = 50  # so many changes follow each other at once; then what is there lasts
CREW = 4


@pytest.mark.parametrize("seed", range(2))
async def test_f67_the_members_of_1000_changes_are_seen_in_order(seed: int) -> None:
    chance, server = random.Random(seed), MemoryServer("f67", clock=Clock())
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(on(LossyStore(server, chance), "watcher"))
        group = [await stack.enter_async_context(on(LossyStore(server, chance), f"web-{at}")) for at in range(CREW)]
        crew = [Joining(members_of(one), chance, lose=functools.partial(lose, one)) for one in group]
        store, scope = watcher.store, await stack.enter_async_context(Scope("watch"))
        assert isinstance(store, LossyStore)
        shown = MembersShown(members_of(watcher), scope)
        for at in range(1, CHANGES + 1):
            await chance.choice(crew).change()
            if at % REST == REST // 2:
                store.cut()
            if at % REST == 0:
                store.mend()
                store.loses_all = at % (2 * REST) == 0
                await shown.until(await all_back(members_of(watcher), crew))
        for one in crew:
            await one.leave()
        await shown.until(())
    shown.judge()
    assert store.lost > 0
    assert store.doubled > 0


async def lose(one: Instance) -> None:
    """Its session ends, and it begins another."""
    await one.leases.die("was killed")
    await one.leases.begin()


def one_of(instance: str, id: str, *, load: float | None = None, number: int = 0) -> Member:
    return Member(id=id, instance=instance, machine="here", session=id, load=load, number=number)


def test_a_difference_tells_who_left_who_joined_and_who_says_something_else() -> None:
    stays, old, new = one_of("a", "1"), one_of("b", "2"), one_of("b", "3")
    found = difference((stays, old), (one_of("a", "1", load=0.5), new))
    assert found == Difference(left=(old,), joined=(new,), changed=(one_of("a", "1", load=0.5),))
    assert not difference((stays, old), (stays, old))


def test_what_a_member_says_is_read_back() -> None:
    said = Member(
        id="1",
        instance="a",
        machine="m",
        session="s",
        version="2",
        load=0.25,
        metadata={"x": "y"},
        number=7,
        revision=9,
    )
    assert Member.of(Node("members/billing/1", said.to_bytes(), 9, 7, "s")) == said


@pytest.mark.parametrize(
    ("value", "session"), [(b"", "s"), (b"[]", "s"), (b"{}", "s"), (one_of("a", "1").to_bytes(), None)]
)
def test_what_is_no_member_is_told_by_its_path(value: bytes, session: str | None) -> None:
    with pytest.raises(CorruptRecordError, match="members/billing/1 is not readable: it is no member"):
        Member.of(Node("members/billing/1", value, 1, 1, session))


async def test_what_is_no_member_or_endpoint_hides_no_others(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one:
        await one.store.write("node/members/billing/torn", bytes(16) + b"{", expect=ANY)
        async with members_of(one).join():
            assert len(await members_of(one).list()) == 1


async def test_what_cannot_be_said_is_refused_and_nobody_joins(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one:
        members = members_of(one)
        with pytest.raises(ConfigurationError, match="nan cannot be a load"):
            await members.join(load=float("nan")).__aenter__()
        with pytest.raises(ConfigurationError, match="metadata 'n' is no text"):
            await members.join(metadata={"n": 1}).__aenter__()  # type: ignore[dict-item]
        with pytest.raises(ConfigurationError, match="has room for 32768"):
            await members.join(metadata={"n": "x" * 40_000}).__aenter__()
        assert await members.list() == ()


async def test_who_leaves_while_the_store_is_away_goes_on_and_is_gone_when_it_is_back(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "one") as one, instance(tmp_path / "store.db", "other") as other:
        one.store.call_timeout = 0.05
        states = members_of(other).watch()
        async with members_of(one).join():
            one.store.cut()
        assert len(await members_of(other).list()) == 1
        one.store.mend()
        async with asyncio.timeout(LONG):
            while await anext(states):
                pass
        await states.aclose()


async def test_who_is_cancelled_while_joining_leaves_nobody_behind(tmp_path: Path) -> None:
    async with (
        instance(tmp_path / "store.db", "one") as one,
        instance(tmp_path / "store.db", "other") as other,
        Scope("join") as scope,
    ):
        one.store.cut()
        joining = scope.spawn(members_of(one).join().__aenter__(), name="join")
        await asyncio.sleep(0.02)
        joining.cancel()
        one.store.mend()
        await soon(asyncio.wait([joining]))
        assert joining.cancelled()
        assert await members_of(other).list() == ()


def test_the_active_one_is_the_one_with_the_highest_token() -> None:
    def at(address: str, token: int | None) -> Endpoint:
        return Endpoint(service="invoices", address=address, instance="a", token=token)

    assert active_of([at("none", None)]) is None
    assert active_of([at("old", 3), at("new", 1 << 40), at("none", None)]) == at("new", 1 << 40)
