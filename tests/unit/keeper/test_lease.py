"""A session as those who depend on it see it."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from typing import TYPE_CHECKING

import pytest

from locum.coordination.hold import Hold
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.lease import Lease
from tests.unit.kit import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cell() -> Iterator[Cell]:
    memory = Cell.make()
    cell = Cell(memory)
    os.close(memory)
    yield cell
    cell.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(cell: Cell, clock: ManualClock) -> Lease:
    cell.begin(1, clock.now() + 60, clock.now() + 85)
    return Lease("session", 1, Budget.of_seconds(6.0), cell, clock)


def test_it_is_current_until_its_deadline_to_the_nanosecond(lease: Lease, clock: ManualClock) -> None:
    seen = [lease.is_current]
    clock.instant += 59
    seen.append(lease.is_current)
    clock.instant += 1
    seen.append(lease.is_current)
    assert seen == [True, True, False]
    assert not lease.is_lost, "a passed deadline is not yet the session's end"


def test_an_acknowledged_beat_carries_it_on(lease: Lease, cell: Cell, clock: ManualClock) -> None:
    cell.advance(clock.now() + 100, clock.now() + 130)
    clock.instant += 99
    assert lease.is_current
    assert lease.cancel_at == clock.now() + 1


@pytest.mark.parametrize("end", ["another generation", "none"])
def test_another_generation_is_not_its_own(lease: Lease, cell: Cell, clock: ManualClock, end: str) -> None:
    if end == "none":
        cell.end()
    else:
        cell.begin(2, clock.now() + 1000, clock.now() + 2000)
    assert not lease.is_current
    assert lease.cancel_at == 0


def test_a_loss_is_told_to_all_once_and_is_for_good(lease: Lease) -> None:
    told: list[str] = []
    lease.on_end(told.append)
    forget = lease.on_end(lambda why: told.append("forgotten " + why))
    forget()
    lease.lose("fell silent")
    assert told == ["fell silent"]
    assert (lease.is_lost, lease.is_current, lease.loss) == (True, False, "fell silent")
    lease.lose("again")
    assert lease.loss == "fell silent", "the first reason stays"


def test_a_miss_is_told_and_the_session_may_yet_live(lease: Lease) -> None:
    told: list[str] = []
    lease.on_end(told.append)
    lease.miss("its deadline has passed")
    assert told == ["its deadline has passed"]
    assert not lease.is_lost


def test_a_watcher_that_takes_itself_back_harms_no_other(lease: Lease) -> None:
    told: list[str] = []

    def first(why: str) -> None:
        forget()
        told.append("first")

    forget = lease.on_end(first)
    lease.on_end(lambda why: told.append("second"))
    lease.lose("x")
    assert sorted(told) == ["first", "second"]


@pytest.mark.parametrize("end", ["given up", "lost"])
async def test_a_hold_that_is_over_is_let_go_of_without_a_collection(
    lease: Lease, clock: ManualClock, end: str
) -> None:
    """A collection looks through all that lives: with thousands of runs a second it would be wanted again and again."""

    class Owner:
        hold: Hold

        def tell(self, why: str) -> None: ...

    owner = Owner()
    owner.hold = Hold("run", scope="job/run/0", instance="w0", lease=lease, clock=clock)
    owner.hold.when_lost(owner.tell)
    left = weakref.ref(owner), weakref.ref(owner.hold)
    gc.disable()
    try:
        if end == "lost":
            lease.lose("is over")
        else:
            owner.hold.end("is over")
        del owner
        await asyncio.sleep(0)  # those who are told of a loss, and the loop, let go of it
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()
