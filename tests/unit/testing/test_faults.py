"""What can become of a call: each fault does what it says, and breaks nothing of the contract."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from locum.errors import ConflictError, OutcomeUnknownError, StoreUnavailableError
from locum.store import ABSENT, ANY
from locum.stores.memory import MemoryServer, MemoryStore
from locum.testing.faults import Delayed, FaultyStore, Held, answer_lost, duplicated, passes, refused, request_lost
from tests.unit.kit import ManualClock, soon, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[FaultyStore]:
    async with AsyncExitStack() as stack:
        server = MemoryServer("faults", clock=clock)
        store = FaultyStore(MemoryStore(server, namespace="billing", clock=clock))
        await store.open()
        stack.push_async_callback(store.close)
        yield store


async def test_a_lost_request_is_not_done(store: FaultyStore) -> None:
    store.plan("write", request_lost)
    with pytest.raises(OutcomeUnknownError):
        await store.write("a", b"", expect=ABSENT)
    assert await store.read("a") is None
    assert (store.count("write"), store.answered("write")) == (1, 0)


async def test_a_lost_answer_is_done(store: FaultyStore) -> None:
    store.plan("write", answer_lost)
    with pytest.raises(OutcomeUnknownError):
        await store.write("a", b"", expect=ABSENT)
    with pytest.raises(ConflictError):
        await store.write("a", b"", expect=ABSENT)


async def test_a_duplicate_is_heard_twice_and_answered_once(store: FaultyStore) -> None:
    store.plan("write", duplicated)
    first = await store.write("a", b"", expect=ABSENT)
    assert await store.read("a") == first, "the second one was refused"
    store.plan("write", duplicated)
    second = await store.write("a", b"", expect=ANY)
    latest = await store.read("a")
    assert latest is not None
    assert latest.revision > second.revision, "and this one was not"


async def test_faults_strike_in_turn_and_only_what_they_are_planned_for(store: FaultyStore) -> None:
    store.plan("write", refused, passes, refused, key="a/")
    await store.write("b", b"", expect=ANY)
    for outcome in (StoreUnavailableError, None, StoreUnavailableError, None):
        if outcome is None:
            await store.write("a/1", b"", expect=ANY)
        else:
            with pytest.raises(outcome):
                await store.write("a/1", b"", expect=ANY)
    store.always("read", refused)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await store.read("b")
    store.always("read", None)
    await store.read("b")


@pytest.mark.parametrize("answer", [True, False])
async def test_what_is_held_waits_on_that_side_of_the_store(store: FaultyStore, answer: bool) -> None:
    held = Held(answer=answer)
    store.plan("write", held)
    writing = asyncio.ensure_future(store.write("a", b"", expect=ABSENT))
    await soon(held.reached.wait())
    assert (await store.read("a") is not None) == answer
    assert not writing.done()
    held.let_go()
    assert (await soon(writing)).key == "a"


async def test_calls_that_are_delayed_differently_come_in_another_order(store: FaultyStore, clock: ManualClock) -> None:
    held = Held(answer=False)
    store.plan("write", held, Delayed(clock, request=0.5, answer=0.25))
    first = asyncio.ensure_future(store.write("a", b"first", expect=ANY))
    await soon(held.reached.wait())
    await store.write("a", b"second", expect=ANY)
    assert clock.slept == [0.5, 0.25]
    held.let_go()
    await soon(first)
    found = await store.read("a")
    assert found is not None
    assert found.value == b"first"
    store.plan("read", Delayed(clock, lost=True))
    with pytest.raises(OutcomeUnknownError):
        await store.read("a")


async def test_a_cut_store_is_not_there_for_any_call_until_it_is_mended(store: FaultyStore) -> None:
    store.cut()
    for call in (store.read("a"), store.sessions(), store.health(), store.adopt(max_ttl=1), store.list("")):
        with pytest.raises(StoreUnavailableError):
            await call
    store.mend()
    await store.health()


async def test_a_wake_up_that_is_held_comes_later_and_is_not_lost_with_a_cancelled_wait(store: FaultyStore) -> None:
    async with store.changes(["a"]) as changes:
        store.hold_wake_ups()
        await store.write("a", b"", expect=ANY)
        waiting = asyncio.ensure_future(anext(changes))
        await turns()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        store.let_wake_ups_go()
        assert (await soon(anext(changes))).keys == {"a"}
