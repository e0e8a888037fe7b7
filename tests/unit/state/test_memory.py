"""What a replica has in memory: keys in order, pictures of a moment, and keys that are somebody's."""

from __future__ import annotations

import asyncio
import random

import pytest

from locum.errors import NotPrimaryError, WaitTimeoutError
from locum.state.contents import Contents
from locum.state.locks import Locks
from locum.state.order import Order
from locum.state.record import Change

NAME = ("counts", "a")
SECOND = 1.0


def all_of(order: Order, start: str = "") -> list[str]:
    found: list[str] = []
    page = order.page(start, after=False)
    while page:
        found += page
        page = order.page(found[-1], after=True)
    return found


def test_keys_stay_in_order_whatever_comes_and_goes() -> None:
    dice = random.Random(5)
    keys = {f"{dice.randrange(10**6):06}" for _ in range(3000)}
    order = Order(sorted(keys))
    for _ in range(2000):
        key = f"{dice.randrange(10**6):06}"
        if dice.random() < 0.5 and keys:
            key = dice.choice(sorted(keys)[:50])
            keys.remove(key)
            order.remove(key)
        elif key not in keys:
            keys.add(key)
            order.add(key)
    assert all_of(order) == sorted(keys)
    assert all_of(order, "5") == [key for key in sorted(keys) if key >= "5"]
    for key in sorted(keys):
        order.remove(key)
    assert all_of(order) == []
    order.add("a")
    assert all_of(order) == ["a"]


def test_a_picture_is_of_its_moment_whatever_is_changed_while_one_looks() -> None:
    dice = random.Random(6)
    contents = Contents()
    contents.apply([Change("counts", f"{number:04}", str(number)) for number in range(0, 3000, 2)], 1)
    collection = contents["counts"]
    held = dict(sorted(collection.values.items()))
    picture = collection.snapshot()
    seen = {}
    for position, (key, value) in enumerate(picture.items(), 2):
        seen[key] = value
        changed = f"{dice.randrange(3000):04}"
        contents.apply([Change("counts", changed, dice.choice(["new", None]))], position)
    assert seen == held
    assert list(seen) == list(held)
    assert len(picture) == len(held)
    assert dict(picture.items(prefix="02", start="021")) == {
        key: value for key, value in held.items() if key.startswith("02") and key >= "021"
    }
    assert dict(collection.snapshot().items()) == collection.values


async def test_keys_are_given_in_the_order_of_asking() -> None:
    locks, got = Locks(), []
    await locks.acquire("first", NAME, timeout=SECOND)
    await locks.acquire("first", NAME, timeout=SECOND)

    async def wait(owner: str, timeout: float = SECOND) -> None:
        await locks.acquire(owner, NAME, timeout=timeout)
        got.append(owner)

    waiting = [asyncio.ensure_future(wait(owner)) for owner in ("second", "third", "fourth")]
    await asyncio.sleep(0)
    waiting[1].cancel()
    with pytest.raises(WaitTimeoutError):
        await wait("too late", timeout=0.01)
    locks.release("nobody", {NAME})
    assert got == []
    locks.release("first", {NAME})
    await waiting[0]
    locks.release("second", {NAME})
    await waiting[2]
    assert got == ["second", "fourth"]
    locks.release("fourth", {NAME})
    await locks.acquire("fifth", NAME, timeout=SECOND)


async def test_a_key_that_is_given_to_one_who_leaves_goes_to_the_next() -> None:
    locks = Locks()
    await locks.acquire("first", NAME, timeout=SECOND)
    leaving, following = (asyncio.ensure_future(locks.acquire(who, NAME, timeout=SECOND)) for who in ("a", "b"))
    await asyncio.sleep(0)
    locks.release("first", {NAME})
    leaving.cancel()  # in the moment in which it is given
    await following
    assert leaving.cancelled()


async def test_who_waits_is_told_that_there_is_nothing_to_be_had_any_more() -> None:
    locks = Locks()
    await locks.acquire("first", NAME, timeout=SECOND)
    waiting = asyncio.ensure_future(locks.acquire("second", NAME, timeout=SECOND))
    await asyncio.sleep(0)
    locks.close(lambda: NotPrimaryError("counter/0", "its term has ended"))
    for one in (waiting, locks.acquire("third", ("counts", "b"), timeout=SECOND)):
        with pytest.raises(NotPrimaryError):
            await one
    locks.release("first", {NAME})
