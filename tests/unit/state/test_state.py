"""A state: transactions on the primary, secondaries that follow, and who may write."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.errors import NotPrimaryError, StaleTermError, StateError, WaitTimeoutError
from locum.state.database import opened
from locum.state.state import Role, State
from locum.store import ABSENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from locum.state.database import StateDatabase

_LONG = 30.0


def state(database: StateDatabase, **options: Any) -> State:
    return State(database, "counter", "0", **options)


@asynccontextmanager
async def two(url: str, **options: Any) -> AsyncIterator[tuple[State, State]]:
    """Two replicas, as in two processes; the options are the first one's."""
    async with (
        opened(url, namespace="billing", timeout=30) as here,
        opened(url, namespace="billing", timeout=30) as there,
        state(here, **options) as one,
        state(there) as other,
    ):
        yield one, other


async def add(state: State, key: str, **options: Any) -> int:
    """Count something up by one."""
    counts = state.dictionary("counts")
    async with state.transaction(**options) as tx:
        number: int = await counts.get(tx, key, 0) + 1
        await counts.set(tx, key, number)
    return number


async def error_of(work: Awaitable[object]) -> Exception | None:
    """What is raised."""
    try:
        await work
    except Exception as error:
        return error
    return None


async def test_what_is_committed_is_read_by_all_and_by_the_next_primary(url: str) -> None:
    async with AsyncExitStack() as stack:
        states = []
        for _ in range(3):
            database = await stack.enter_async_context(opened(url, namespace="billing", timeout=30))
            states.append(await stack.enter_async_context(state(database)))
        first, second, third = states
        assert first.role is Role.SECONDARY
        await first.promote(1)
        assert (first.role, first.token, first.is_writable, first.staleness) == (Role.PRIMARY, 1, True, 0.0)
        for number in range(5):
            assert await add(first, "a") == number + 1
        async with asyncio.timeout(_LONG):
            for one in (second, third):
                await one.caught_up(first.position)
                assert one.dictionary("counts").read("a") == 5
                assert one.staleness < _LONG
        await second.promote(2)
        assert await add(second, "a") == 6
        with pytest.raises(StaleTermError) as refused:
            await add(first, "a")
        assert (refused.value.token, refused.value.highest) == (1, 2)
        assert not first.is_writable
        with pytest.raises(NotPrimaryError):
            await add(first, "a")
        await first.demote()
        async with asyncio.timeout(_LONG):
            await first.caught_up(second.position)
        assert first.dictionary("counts").read("a") == 6
    async with opened(url, namespace="billing", timeout=30) as database, state(database) as anew:
        assert anew.dictionary("counts").read("a") == 6
        assert anew.opened is not None
        assert (anew.opened.keys, anew.opened.records) == (1, 6)


async def test_many_at_once_are_few_records(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        await asyncio.gather(*(add(one, f"key {number % 50}") for number in range(200)))
        counts = one.dictionary("counts")
        assert [value for _, value in counts.items()] == [4] * 50
        assert one.position < 50


async def test_a_transaction_sees_its_own_writes_and_is_all_or_nothing(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        counts = one.dictionary("counts")
        async with one.transaction() as tx:
            for key in "ace":
                await counts.set(tx, key, {"is": key})

        async def undone() -> None:
            async with one.transaction() as tx:
                await counts.set(tx, "b", 2)
                assert await counts.delete(tx, "c")
                assert not await counts.delete(tx, "c")
                assert await counts.get(tx, "b") == 2
                assert [key for key, _ in counts.items(tx)] == ["a", "b", "e"]
                assert [key for key, _ in counts.items(tx, start="b")] == ["b", "e"]
                assert [key for key, _ in counts.items()] == ["a", "c", "e"]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await undone()
        assert counts.read("b") is None
        assert counts.read("c") == {"is": "c"}
        async with one.transaction() as tx:
            assert not await counts.try_update(tx, "a", 1, expect=ABSENT)
            assert not await counts.try_update(tx, "a", 1, expect={"is": "b"})
            assert await counts.try_update(tx, "a", 1, expect={"is": "a"})
            assert await counts.try_update(tx, "f", 2, expect=ABSENT)
            assert await counts.delete(tx, "e")
        assert dict(counts.items()) == {"a": 1, "c": {"is": "c"}, "f": 2}
        with pytest.raises(StateError, match="over"):
            await counts.get(tx, "a")


async def test_an_enumeration_shows_one_moment(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        counts = one.dictionary("counts")
        async with one.transaction() as tx:
            for number in range(2000):
                await counts.set(tx, f"{number:04}", number)
        shown = counts.items(prefix="1")
        seen = [next(shown)]
        async with one.transaction() as tx:
            await counts.set(tx, "1500", "new")
            await counts.set(tx, "1500a", "new")
            await counts.delete(tx, "1600")
            await counts.delete(tx, "1999")
        seen += shown
        assert seen == [(f"{number:04}", number) for number in range(1000, 2000)]
        assert len(counts) == 1999


async def test_a_key_is_waited_for_in_turn_and_not_for_ever(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        counts = one.dictionary("counts")
        async with one.transaction() as tx:
            await counts.get(tx, "a")
            with pytest.raises(WaitTimeoutError, match="'a'"):
                await add(one, "a", timeout=0.05)
            await add(one, "b")
        assert await add(one, "a") == 1


async def test_a_revocation_is_told_to_all_who_wait(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        counts = one.dictionary("counts")

        async def revoked() -> None:
            async with one.transaction() as tx:
                await counts.set(tx, "a", 1)
                waits = asyncio.ensure_future(add(one, "a"))
                await asyncio.sleep(0)
                one.revoke()
                with pytest.raises(NotPrimaryError):
                    await waits

        assert isinstance(await error_of(revoked()), NotPrimaryError)
        assert counts.read("a") is None
        await one.demote()
        await one.promote(2)
        assert await add(one, "a") == 1


async def get(state: State, key: str) -> None:
    async with state.transaction() as tx:
        assert await state.dictionary("counts").get(tx, key) == 1


async def enumerate_all(state: State, key: str) -> None:
    async with state.transaction() as tx:
        assert dict(state.dictionary("counts").items(tx)) == {key: 1}


@pytest.mark.parametrize("work", [add, get, enumerate_all])
async def test_a_stale_primary_neither_writes_nor_reads(url: str, work: Callable[[State, str], Awaitable[Any]]) -> None:
    refused: list[Exception] = []
    async with two(url, on_refused=refused.append) as (old, new):
        await old.promote(7)
        await add(old, "a")
        await new.promote(8)
        assert isinstance(await error_of(work(old, "a")), StaleTermError)
        (error,) = refused
        assert isinstance(error, StaleTermError)
        await old.demote()
        with pytest.raises(StaleTermError):
            await old.promote(7)
        assert old.role is Role.SECONDARY


async def test_a_repeated_transaction_is_applied_once(url: str) -> None:
    async def count(state: State) -> tuple[bool, Any]:
        counts = state.dictionary("counts")
        async with state.transaction(key="request 17") as tx:
            if not tx.is_repeated:
                tx.result = await counts.get(tx, "a", 0) + 1
            await counts.set(tx, "a", await counts.get(tx, "a", 0) + 1)
        return tx.is_repeated, tx.result

    async with two(url) as (old, new):
        await old.promote(1)
        found = await asyncio.gather(count(old), count(old))
        assert sorted(found) == [(False, 1), (True, 1)]
        await new.promote(2)
        assert await count(new) == (True, 1)
        assert new.dictionary("counts").read("a") == 1


async def test_who_subscribes_is_told_after_the_commit_on_every_replica(url: str) -> None:
    async with two(url) as (one, other):
        told: dict[str, list[Any]] = {"here": [], "there": []}
        ends = [
            one.dictionary("counts").subscribe(told["here"].append),
            other.dictionary("counts").subscribe(told["there"].append),
        ]
        await one.promote(1)
        await add(one, "a")
        await add(one, "a")
        async with one.transaction() as tx:
            await one.dictionary("counts").delete(tx, "a")
        async with asyncio.timeout(_LONG):
            await other.caught_up(one.position)
        for found in told.values():
            assert [(one.key, one.value, one.is_deleted, one.position) for one in found] == [
                ("a", 1, False, 1),
                ("a", 2, False, 2),
                ("a", None, True, 3),
            ]
        for end in ends:
            end()
        await add(one, "a")
        assert len(told["here"]) == 3


async def test_s04_a_secondary_shows_whole_transactions_and_says_how_old_they_are(url: str) -> None:
    async with two(url) as (one, other):
        await one.promote(1)
        here, there = one.dictionary("counts"), other.dictionary("counts")
        seen = []

        async def write() -> None:
            for number in range(100):
                async with one.transaction() as tx:
                    for key in ("a", "b"):
                        await here.set(tx, key, number)

        async def read() -> None:
            while other.position < 100:
                seen.append((there.read("a"), there.read("b")))
                await asyncio.sleep(0)

        async with asyncio.timeout(_LONG):
            await asyncio.gather(write(), read())
        assert all(a == b for a, b in seen)
        assert [a for a, _ in seen if a is not None] == sorted(a for a, _ in seen if a is not None)
        async with asyncio.timeout(_LONG):
            while other.staleness > 1:  # noqa: ASYNC110 - a secondary that looks
                await asyncio.sleep(0.01)
        other._database.leave(other._replica)
        before = other.staleness
        await add(one, "c")
        await asyncio.sleep(0.05)
        assert other.staleness >= before + 0.05
        assert one.staleness == 0.0


async def test_what_cannot_be_kept_is_refused_at_once(database: StateDatabase) -> None:
    async with state(database) as one, State(database, "counter", "1") as other:
        await one.promote(1)
        counts, theirs = one.dictionary("counts"), other.dictionary("counts")
        async with one.transaction() as tx:
            for key in ("", "x" * 513, "a\0"):
                assert isinstance(await error_of(counts.set(tx, key, 1)), StateError)
            assert isinstance(await error_of(counts.set(tx, "\ud800", 1)), UnicodeEncodeError)
            for value, error in ((object(), TypeError), (math.nan, ValueError), ("\ud800", UnicodeEncodeError)):
                assert isinstance(await error_of(counts.set(tx, "a", value)), error)
            assert isinstance(await error_of(theirs.get(tx, "a")), StateError)
            with pytest.raises(StateError, match="another partition"):
                theirs.items(tx)
            await counts.set(tx, "a", ["ключ\0", None, {"1": 2.5}])
        assert counts.read("a") == ["ключ\0", None, {"1": 2.5}]
    async with state(database) as one:
        assert one.dictionary("counts").read("a") == ["ключ\0", None, {"1": 2.5}]
