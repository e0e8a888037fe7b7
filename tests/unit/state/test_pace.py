"""Much is taken in a slice at a time: the event loop has its turn in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.state import checkpointing, loading, pace, replica
from locum.state import contents as contents_module
from locum.state.contents import Collection, Contents
from locum.state.database import opened
from locum.state.state import State
from tests.unit.state.test_checkpoints import checkpoint
from tests.unit.state.test_state import _LONG, state, two

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.state.dictionary import KeyChange

SLICE, KEYS, TOGETHER = 100, 3000, 100


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small slices."""
    for module in (pace, loading, replica, contents_module):
        monkeypatch.setattr(module, "SLICE", SLICE)


class Turns:
    """How many keys were taken in within each turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.taken: Counter[int] = Counter()

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def judge(self) -> None:
        assert sum(self.taken.values()) >= KEYS
        assert max(self.taken.values()) <= 2 * SLICE, f"of {KEYS} keys, in one go"


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Turns]:
    """Look on while keys are taken in."""
    turns = Turns()
    apply, extend = Contents.apply, Collection.extend

    def counted_apply(self: Contents, changes: Any, position: int) -> None:
        turns.taken[turns.turn] += len(changes)
        apply(self, changes, position)

    def counted_extend(self: Collection, found: Any) -> None:
        turns.taken[turns.turn] += len(found)
        extend(self, found)

    monkeypatch.setattr(Contents, "apply", counted_apply)
    monkeypatch.setattr(Collection, "extend", counted_extend)
    counting = asyncio.ensure_future(turns.count())
    yield turns
    counting.cancel()


async def fill(one: State, times: str = "once") -> None:
    counts = one.dictionary("counts")
    for at in range(0, KEYS, TOGETHER):
        async with one.transaction(key=f"{at}, {times}") as tx:
            for number in range(at, at + TOGETHER):
                await counts.set(tx, f"key {number:06}", times)


async def test_a_cold_start_takes_keys_in_slices(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "_DUE", 5)
    async with opened(url, namespace="billing", timeout=30) as database:
        async with state(database) as one:
            await one.promote(1)
            await fill(one)
            await checkpoint(one, one.position - 4)
            held, keys = dict(one.dictionary("counts").items()), list(one._replica.contents[""].values)
        async with watched(monkeypatch) as turns, state(database) as two:
            turns.judge()
            assert dict(two.dictionary("counts").items()) == held
            assert list(two._replica.contents[""].values) == keys, "in the order in which they came"


async def test_a_promotion_takes_records_in_slices(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two(url) as (one, other):
        other._database.leave(other._replica)
        await one.promote(1)
        await fill(one)
        async with watched(monkeypatch) as turns:
            await other.promote(2)
            turns.judge()
        assert dict(other.dictionary("counts").items()) == dict(one.dictionary("counts").items())


async def test_who_is_far_behind_takes_changes_in_slices_and_shows_them_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "_DUE", 5)
    monkeypatch.setattr(checkpointing, "_KEPT", 1)
    async with two(url) as (one, other):
        await one.promote(1)
        await fill(one)
        async with asyncio.timeout(_LONG):
            await other.caught_up(one.position)
        other._database.leave(other._replica)
        there, shown = other.dictionary("counts"), set()
        told: list[KeyChange[Any] | None] = []
        there.subscribe(told.append)
        async with one.transaction() as tx:
            await one.dictionary("counts").set(tx, "new", 1)
        await fill(one, "twice")
        for number in range(20):
            async with one.transaction() as tx:
                await one.dictionary("counts").set(tx, "new", number)
        await checkpoint(one, one.position - 4)

        async def read() -> None:
            while True:
                shown.add(tuple(there.read(key) for key in ("key 000000", f"key {KEYS - 1:06}", "new")))
                await asyncio.sleep(0)

        async with watched(monkeypatch) as turns:
            reading = asyncio.ensure_future(read())
            other._database.follow(other._replica)
            async with asyncio.timeout(_LONG):
                await other.caught_up(one.position)
            await asyncio.sleep(0)
            reading.cancel()
            turns.judge()
        assert shown == {("once", "once", None), ("twice", "twice", 19)}
        assert told[-1] is not None
        assert (told[-1].key, told[-1].value) == ("new", 19)
        assert dict(there.items()) == dict(one.dictionary("counts").items())
