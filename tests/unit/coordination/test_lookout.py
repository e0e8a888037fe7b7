"""What a look shows of a grant that is reserved for one instance (R22), on clocks that obey."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.coordination.grant import Grant, Past, Reserved, grant_key
from locum.coordination.line import Entry, entry_key
from locum.coordination.lookout import Lookout
from locum.store import ABSENT, ANY
from tests.unit.kit import ShiftedClock, instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.coordination.lookout import View
    from locum.testing.instances import Instance

SCOPE = "election/settlement"
WAIT = 100.0
A_MOMENT = 1.0  # what a test may take between two looks by the same clock, generously


class Candidate:
    """One in line, with a clock of its own that is as far ahead as the test says; its lease outlasts every shift."""

    def __init__(self, name: str, one: Instance, clock: ShiftedClock) -> None:
        self.name, self.clock, self.store = name, clock, one.store
        self._one, self._key = one, entry_key(SCOPE, name)
        self._lookout = Lookout(one.store, clock, SCOPE, name)

    async def join(self) -> None:
        lease = await self._one.leases.lease()
        await self.store.write(self._key, Entry.value(self.name), expect=ABSENT, session=lease.session)

    async def leave(self) -> None:
        await self.store.delete(self._key, expect=ANY)

    async def look(self) -> View:
        async def foresee(grant: Grant) -> None:
            assert grant.holder is not None, "read ahead of its turn"

        view, _ = await self._lookout.look(await self._one.leases.lease(), foresee)
        return view

    async def may_take(self) -> bool:
        return (await self.look()).is_our_turn(await self._one.leases.lease())

    async def patience(self) -> float:
        patience = (await self.look()).patience(await self._one.leases.lease())
        assert patience is not None
        return patience


class House:
    """Candidates on one file."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self._path, self._stack = path, stack

    async def add(self, name: str, *, of: str = "", ahead: float = 0.0) -> Candidate:
        clock = ShiftedClock()
        clock.shift(ahead)
        one = await self._stack.enter_async_context(instance(self._path, of or name, ttl=3600.0, clock=clock))
        made = Candidate(name, one, clock)
        await made.join()
        return made


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(tmp_path / "store.db", stack)


async def leave_to(one: Candidate, to: str | None, *, wait: float = WAIT) -> None:
    """The grant as a holder leaves it that has gone since."""
    past = Past("gone", "web-0", "", "was transferred", 1, "elsewhere")
    reserved = Reserved(to, nanoseconds(wait)) if to else None
    await one.store.write(grant_key(SCOPE), Grant(7, None, past, reserved).to_bytes(), expect=ANY)


async def test_only_the_named_one_may_take_it_whatever_its_place(house: House) -> None:
    one, two, three, four = [await house.add(f"web-{number}") for number in range(1, 5)]
    await leave_to(one, "web-4")
    assert [await each.may_take() for each in (one, two, three, four)] == [False, False, False, True]
    await leave_to(one, None)
    assert [await each.may_take() for each in (one, two, three, four)] == [True, False, False, False]


async def test_a_reservation_counts_on_each_ones_own_clock_from_its_own_first_sight(house: House) -> None:
    """Clocks that are hours apart, and a candidate that sees it only when another has waited already."""
    one = await house.add("web-1", ahead=10_000.0)
    two = await house.add("web-2", ahead=0.0)
    await house.add("web-9")
    await leave_to(one, "web-9")
    assert not await one.may_take()
    one.clock.shift(WAIT - A_MOMENT)
    assert not await one.may_take()
    assert not await two.may_take(), "its wait begins now"
    one.clock.shift(A_MOMENT)
    assert await one.may_take()
    two.clock.shift(WAIT - A_MOMENT)
    assert (await two.look()).free_for is None
    two.clock.shift(A_MOMENT)
    assert (await two.look()).free_for is not None, "free as usual: it is second in line"
    assert not await two.may_take()


async def test_the_wait_begins_again_with_another_release(house: House) -> None:
    one = await house.add("web-1")
    await house.add("web-9")
    await leave_to(one, "web-9")
    assert not await one.may_take()
    one.clock.shift(WAIT - A_MOMENT)
    await leave_to(one, "web-9")
    assert not await one.may_take()
    one.clock.shift(WAIT - A_MOMENT)
    assert not await one.may_take(), "it is another grant, first seen a moment ago"
    one.clock.shift(A_MOMENT)
    assert await one.may_take()


async def test_whoever_is_kept_from_it_looks_again_when_the_wait_is_over(house: House) -> None:
    one = await house.add("web-1")
    await house.add("web-9")
    await leave_to(one, "web-9")
    assert WAIT - A_MOMENT < await one.patience() <= WAIT
    one.clock.shift(WAIT - A_MOMENT)
    assert 0 < await one.patience() <= A_MOMENT


async def test_it_is_free_as_soon_as_none_of_theirs_stands_in_line(house: House) -> None:
    one = await house.add("web-1")
    nine = await house.add("web-9")
    other = await house.add("another", of="web-9")
    await other.store.write(entry_key(SCOPE, "another"), Entry.value("web-9"), expect=ANY)
    await leave_to(one, "web-9")
    assert not await one.may_take()
    await nine.leave()
    assert not await one.may_take(), "another candidate of theirs is there"
    await other.leave()
    assert await one.may_take()


async def test_nobody_waits_for_one_that_has_never_been_in_line(house: House) -> None:
    one = await house.add("web-1")
    await leave_to(one, "web-9")
    assert await one.may_take()


async def test_one_that_comes_back_in_time_has_it_again(house: House) -> None:
    one, nine = await house.add("web-1"), await house.add("web-9")
    await leave_to(one, "web-9")
    await nine.leave()
    assert await one.may_take()
    await nine.join()
    assert not await one.may_take()
    assert await nine.may_take()


async def test_the_named_one_may_take_it_again_and_again_until_it_has(house: House) -> None:
    """A first try may fail, for example for a lease whose beat is late."""
    await house.add("web-1")
    nine = await house.add("web-9")
    await leave_to(nine, "web-9")
    assert await nine.may_take()
    nine.clock.shift(WAIT / 2)
    assert await nine.may_take()


async def test_who_is_kept_from_it_and_is_first_sees_the_named_one_leave(house: House) -> None:
    one, two, three, nine = [await house.add(f"web-{number}") for number in (1, 2, 3, 9)]
    await leave_to(one, "web-9")
    theirs = entry_key(SCOPE, nine.name)
    assert [theirs in (await each.look()).place.watch for each in (one, two, three)] == [True, True, False]
    one.clock.shift(WAIT)
    assert theirs not in (await one.look()).place.watch


@pytest.mark.parametrize("wait", [0.0, -5.0])
async def test_a_reservation_for_no_time_is_none(house: House, wait: float) -> None:
    one = await house.add("web-1")
    await house.add("web-9")
    await leave_to(one, "web-9", wait=wait)
    assert await one.may_take()
