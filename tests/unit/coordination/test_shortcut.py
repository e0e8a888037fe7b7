"""What is taken without a place in line: three calls a turn, and nobody who waits is passed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.collecting import Collector
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import line_prefix
from locum.coordination.lock import Lock
from locum.coordination.shared import ReadWriteLock
from locum.errors import WaitTimeoutError
from locum.floor import Floor
from locum.scopes import Scope
from locum.store import ABSENT, ANY
from locum.testing.faults import answer_lost, request_lost
from tests.unit.kit import instance, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

SCOPE = "lock/invoice-42"
GRANT = grant_key(SCOPE)
LINE = line_prefix(SCOPE)


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-1") as made:
        yield await known(made)


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-2") as made:
        yield await known(made)


async def known(made: Instance) -> Instance:
    """An instance that knows the store to be open for grants."""
    async with Lock(made.commons, "any"):
        pass
    return made


def lock_of(one: Instance) -> Lock:
    return Lock(one.commons, "invoice-42")


def calls_of(one: Instance) -> list[str]:
    """The names of the calls that were made about this lock and the floor since this was asked last."""
    made = [name for name, subject in one.store.calls if SCOPE in str(subject) or subject == "floor"]
    one.store.calls.clear()
    return made


async def stands(one: Instance) -> None:
    """Wait until somebody stands in line."""
    async with one.store.changes([LINE]) as changes:
        while not (await one.store.list(LINE)).records:
            await anext(changes)


async def test_a_lock_that_is_turned_again_and_again_costs_three_calls_a_turn(one: Instance) -> None:
    one.store.calls.clear()
    async with lock_of(one):
        assert (await one.store.list("line/")).records == []
    assert calls_of(one) == ["write", "read", "write", "write"], "make it, read the floor, take, release"
    for turn in range(2, 12):
        async with lock_of(one) as held:
            assert held.token == turn
    assert calls_of(one) == ["read", "write", "write"] * 10, "the floor is read each time (R20)"


async def test_who_waits_is_never_passed(one: Instance, other: Instance) -> None:
    async with Scope("waiter") as scope:
        async with lock_of(one):
            waiting = scope.spawn(lock_of(other).win(), name="waiter")
            await stands(one)
        for _ in range(3):
            with pytest.raises(WaitTimeoutError):
                await lock_of(one).win(timeout=0)
        assert (await soon(waiting)).token == 2


async def test_one_that_waits_where_it_is_free_is_not_passed_either(one: Instance, other: Instance) -> None:
    async with lock_of(one):
        pass
    lease = await other.commons.leases.lease()
    await other.store.write(LINE + "0" * 32, b'{"instance": "web-2"}', expect=ABSENT, session=lease.session)
    async with lock_of(one).try_hold() as passing:
        assert passing is None
    assert Grant.of(await one.store.read(GRANT)).holder is None


async def test_a_holder_without_a_place_in_line_is_followed_when_it_dies(one: Instance, other: Instance) -> None:
    await lock_of(one).win()
    async with Scope("waiter") as scope:
        waiting = scope.spawn(lock_of(other).win(), name="waiter")
        await stands(one)
        await turns()
        await one.leases.die("was killed")
        assert (await soon(waiting)).token == 2


async def test_one_that_has_met_others_knows_what_to_watch_before_it_looks(one: Instance, other: Instance) -> None:
    async with lock_of(one):
        with pytest.raises(WaitTimeoutError):
            await lock_of(other).win(timeout=0)
    one.commons.crowded.add(SCOPE)
    # in each turn of two that contend one waits for the other: nine calls, of which the holder's release is one
    async with Scope("waiter") as scope:
        async with lock_of(one):
            async with other.store.changes(["sentinel"]) as changes:
                await one.store.write("sentinel", b"", expect=ANY)
                await soon(anext(changes))  # it has been told of the take by now, and is not woken by it later
            other.store.calls.clear()
            before = other.store.answered("list", LINE)
            waiting = scope.spawn(lock_of(other).win(), name="waiter")
            await until(lambda: other.store.answered("list", LINE) >= before + 2, "its look, after the line was listed")
            await turns()
            assert calls_of(other) == ["write", "list", "read", "list"], "its place, what to watch, one look"
        await soon(waiting)
    assert calls_of(other) == ["read", "list", "read", "write"], "the look, the floor, the take"


@pytest.mark.parametrize("fault", [request_lost, answer_lost])
async def test_a_take_without_an_answer_is_settled(one: Instance, fault: Any) -> None:
    async with lock_of(one):
        pass
    one.store.plan("write", fault, key=GRANT)
    async with lock_of(one) as held:
        assert held.token == 2
        assert Grant.of(await one.store.read(GRANT)).token == 2


async def test_one_who_gives_up_while_it_is_taken_leaves_it_free(one: Instance) -> None:
    async with lock_of(one):
        pass
    taking = asyncio.ensure_future(lock_of(one).win())
    await turns(3)
    taking.cancel()
    await asyncio.wait([taking])
    async with lock_of(one) as held:
        assert held.token in (2, 3)
    assert Grant.of(await one.store.read(GRANT)).holder is None


async def test_what_was_collected_or_taken_by_others_meanwhile_is_looked_at_anew(
    one: Instance, other: Instance
) -> None:
    async with lock_of(one):
        pass
    await Collector(one.commons).collect(idle_for=0.0)
    await Floor.lift(one.store, 40)
    async with lock_of(one) as held:
        assert held.token == 41, "the floor is read after the grant that was made anew"
    await Floor.lift(one.store, 50)
    async with lock_of(other) as held:
        assert held.token == 51
    async with lock_of(one) as held:
        assert held.token == 52


async def test_what_was_known_under_an_old_session_is_looked_at_anew(one: Instance) -> None:
    async with lock_of(one):
        pass
    await one.leases.die("was lost")
    await one.leases.begin()
    async with Lock(one.commons, "any"):
        one.store.calls.clear()
    async with lock_of(one) as held:
        assert held.token == 2
    # in a store that was exchanged meanwhile, the same revision may be another's
    assert calls_of(one) == ["write", "read", "write", "write"], "ask what is there, read the floor, take, release"


async def test_a_writer_goes_in_at_once_and_readers_wait_for_it(one: Instance, other: Instance) -> None:
    async with Scope("reader") as scope:
        async with ReadWriteLock(one.commons, "invoice-42").write():
            reading = scope.spawn(ReadWriteLock(other.commons, "invoice-42").read().win(), name="reader")
            await turns()
            assert not reading.done()
        await soon(reading)
        with pytest.raises(WaitTimeoutError):
            await ReadWriteLock(one.commons, "invoice-42").write().win(timeout=0)
