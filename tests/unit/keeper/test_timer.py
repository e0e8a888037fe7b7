"""The kernel's kill, and alarms, with real processes and the real clock (R6)."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.identity import process_state
from locum.keeper.timer import Alarm, KillTimer
from tests.unit.kit import open_files, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.keeper.children import Children

ARMED = """
import sys, time
from locum.clock import Clock, nanoseconds
from locum.keeper.timer import KillTimer
timer = KillTimer()
timer.arm(Clock().now() + nanoseconds(float(sys.argv[1])))
"""
WAITS = "\nprint('armed', flush=True)\ntime.sleep(60)"
HOLDS_THE_INTERPRETER = """
import ctypes
print('armed', flush=True)
ctypes.PyDLL(None).usleep(20_000_000)  # PyDLL keeps the lock during the call
ctypes.PyDLL(None).usleep(20_000_000)
"""


def test_it_kills_a_process_that_waits(children: Children) -> None:
    child = children.running(ARMED + WAITS, "0.05")
    assert child.wait() == -signal.SIGKILL


async def test_it_kills_a_process_that_is_stopped(children: Children) -> None:
    child = children.running(ARMED + WAITS, "0.5")
    assert child.line() == "armed"
    child.send(signal.SIGSTOP)
    await until(lambda: process_state(child.pid) in ("T", "Z"), "its stop")
    assert process_state(child.pid) == "T", "it was stopped before its deadline"
    assert child.wait() == -signal.SIGKILL


def test_it_kills_a_process_whose_interpreter_is_held_by_a_c_call(children: Children) -> None:
    child = children.running(ARMED + HOLDS_THE_INTERPRETER, "0.3")
    assert child.line() == "armed"
    assert child.wait() == -signal.SIGKILL


def test_an_instant_that_is_past_kills_at_once(children: Children) -> None:
    assert children.running(ARMED + WAITS, "-1").wait() == -signal.SIGKILL


def test_disarmed_it_kills_nobody_and_may_stand_earlier_again(children: Children) -> None:
    program = """
timer.disarm()
assert timer.armed_at is None
time.sleep(0.2)
timer.arm(Clock().now() + nanoseconds(30))
print('alive', flush=True)
timer.disarm()
"""
    child = children.running(ARMED + program, "0.1")
    assert child.line() == "alive"
    assert child.wait() == 0


def test_rearmed_later_it_kills_later(children: Children) -> None:
    program = """
timer.arm(Clock().now() + nanoseconds(0.6))
time.sleep(0.3)
print('alive', flush=True)
time.sleep(60)
"""
    child = children.running(ARMED + program, "0.15")
    assert child.line() == "alive"
    assert child.wait() == -signal.SIGKILL


def test_a_forked_child_does_not_inherit_it(children: Children) -> None:
    program = """
import os
child = os.fork()
if child == 0:
    time.sleep(0.5)
    print('alive', flush=True)
    os._exit(0)
os.waitpid(child, 0)
time.sleep(60)
"""
    child = children.running(ARMED + program, "0.2")
    assert child.wait() == -signal.SIGKILL
    assert child.line() == "alive"


def test_it_only_moves_forward() -> None:
    timer, now = KillTimer(), Clock().now()
    timer.arm(now + nanoseconds(3600))
    try:
        timer.arm(now + nanoseconds(3601))
        with pytest.raises(ValueError, match="only moves forward"):
            timer.arm(now + nanoseconds(3600))
        assert timer.armed_at == now + nanoseconds(3601)
    finally:
        timer.disarm()


class Bell:
    """An alarm, and how often it rang."""

    def __init__(self) -> None:
        self.rang = asyncio.Semaphore(0)
        self.times: list[int] = []
        self.alarm = Alarm(self._ring)

    def _ring(self) -> None:
        self.times.append(Clock().now())
        self.rang.release()

    async def rings(self) -> None:
        await soon(self.rang.acquire())


@pytest.fixture
async def bell() -> AsyncIterator[Bell]:
    bell = Bell()
    yield bell
    bell.alarm.close()


async def test_an_alarm_rings_once_and_not_before_its_instant(bell: Bell) -> None:
    due = Clock().now() + nanoseconds(0.03)
    bell.alarm.set(due)
    await bell.rings()
    assert bell.times[0] >= due
    later = Bell()
    later.alarm.set(Clock().now() + nanoseconds(0.05))
    await later.rings()
    later.alarm.close()
    assert len(bell.times) == 1


async def test_an_alarm_for_the_past_rings_at_once_even_for_zero(bell: Bell) -> None:
    for instant in (0, 1, Clock().now() - 1):
        bell.alarm.set(instant)
        await bell.rings()
    assert len(bell.times) == 3


async def test_an_alarm_that_is_set_anew_rings_at_the_new_instant_only(bell: Bell) -> None:
    now = Clock().now()
    bell.alarm.set(now + nanoseconds(0.02))
    bell.alarm.set(now + nanoseconds(0.08))
    await bell.rings()
    assert len(bell.times) == 1
    assert bell.times[0] >= now + nanoseconds(0.08)


async def test_an_alarm_that_is_cleared_does_not_ring(bell: Bell) -> None:
    bell.alarm.set(Clock().now() + nanoseconds(0.02))
    bell.alarm.clear()
    other = Bell()
    other.alarm.set(Clock().now() + nanoseconds(0.05))
    await other.rings()
    other.alarm.close()
    assert bell.times == []


async def test_of_two_that_are_due_at_once_the_one_that_is_set_anew_meanwhile_does_not_ring_early() -> None:
    later = Clock().now() + nanoseconds(0.05)
    rang: list[tuple[int, int]] = []
    all_rang = asyncio.Event()

    def ring(number: int) -> None:
        rang.append((number, Clock().now()))
        if len(rang) == 1:
            alarms[1 - number].set(later)
        else:
            all_rang.set()

    alarms = [Alarm(lambda: ring(0)), Alarm(lambda: ring(1))]
    for alarm in alarms:
        alarm.set(1)
    await soon(all_rang.wait())
    for alarm in alarms:
        alarm.close()
    (first, _), (second, at) = rang
    assert {first, second} == {0, 1}
    assert at >= later


async def test_a_closed_alarm_leaves_nothing_behind() -> None:
    before = open_files()
    bell = Bell()
    bell.alarm.set(Clock().now() + nanoseconds(60))
    bell.alarm.close()
    assert open_files() == before
