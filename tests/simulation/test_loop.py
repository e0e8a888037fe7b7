"""The virtual loop and its processes: no line after a kill, none while frozen, and time that nobody waits for."""

import asyncio

import pytest

from locum.clock import NANOSECONDS
from locum.scopes import Scope
from locum.testing.simulation.loop import KERNEL, Process, RestlessError, VirtualLoop
from locum.testing.simulation.machine import LocalAlarm, LocalClock, LocalKillTimer, Machine

SECOND = NANOSECONDS


class Counting:
    """A process that counts its steps of a tenth of a second each."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.process = Process("one", loop)
        self.count = 0
        self.ended = False
        self.process.begin(self.start)

    def start(self) -> None:
        self.scope = Scope("test")
        self.scope.spawn(self.run(), name="run")

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(0.1)
                self.count += 1
        finally:
            self.ended = True


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop()


def test_time_goes_on_by_itself(loop: VirtualLoop) -> None:
    one = Counting(loop)
    loop.run_to(round(1.05 * SECOND))
    assert (one.count, loop.time()) == (10, 1.05)
    loop.discard()


def test_a_killed_process_runs_no_further_line(loop: VirtualLoop) -> None:
    one = Counting(loop)
    loop.at(round(0.35 * SECOND), one.process.kill, context=KERNEL)
    loop.run_to(2 * SECOND)
    assert (one.count, one.ended) == (3, False)
    loop.discard()


def test_a_frozen_process_goes_on_where_it_was(loop: VirtualLoop) -> None:
    one = Counting(loop)
    loop.at(round(0.35 * SECOND), lambda: one.process.freeze(stopped=True), context=KERNEL)
    loop.at(round(1.35 * SECOND), one.process.thaw, context=KERNEL)
    loop.run_to(round(1.34 * SECOND))
    assert one.count == 3
    loop.run_to(round(1.5 * SECOND))
    assert one.count == 5
    loop.discard()


def test_a_process_is_struck_between_two_of_its_steps(loop: VirtualLoop) -> None:
    one = Counting(loop)
    one.process.on_step = (5, one.process.kill)
    loop.run_to(2 * SECOND)
    assert one.process.steps == 5
    assert not one.ended
    loop.discard()


def test_what_goes_on_for_ever_is_noticed(loop: VirtualLoop) -> None:
    def again() -> None:
        loop.call_soon(again, context=KERNEL)

    again()
    with pytest.raises(RestlessError):
        loop.run_to(SECOND)
    loop.discard()


def machine(loop: VirtualLoop, rate: int = 1_040_000) -> Machine:
    return Machine("web-1", loop, LocalClock(loop, rate, 7 * SECOND))


@pytest.mark.parametrize("rate", [960_000, 999_983, 1_040_000])
def test_a_clock_shows_an_instant_at_its_true_time_and_not_before(loop: VirtualLoop, rate: int) -> None:
    clock = machine(loop, rate).clock
    for instant in range(7 * SECOND, 9 * SECOND, 12_345_679):
        loop.now = clock.true(instant)
        assert clock.now() >= instant
        loop.now -= 2
        assert clock.now() < instant
    loop.now = 0
    loop.discard()


def test_a_kill_timer_strikes_a_frozen_process_by_its_machine_s_clock(loop: VirtualLoop) -> None:
    home, one = machine(loop), Counting(loop)
    died: list[int] = []
    one.process.ends.append(lambda: died.append(loop.now))
    LocalKillTimer(home, one.process, one.process.kill).arm(home.clock.now() + SECOND)
    one.process.freeze(stopped=True)
    loop.run_to(2 * SECOND)
    assert died == [home.clock.true(8 * SECOND)]
    assert died[0] < SECOND
    loop.discard()


def test_a_kill_timer_strikes_after_a_suspend_before_anything_else_runs(loop: VirtualLoop) -> None:
    home, one = machine(loop), Counting(loop)
    home.processes.append(one.process)
    LocalKillTimer(home, one.process, one.process.kill).arm(home.clock.now() + SECOND)
    loop.at(round(0.35 * SECOND), home.suspend, context=KERNEL)
    loop.at(3 * SECOND, home.resume, context=KERNEL)
    loop.run_to(round(2.9 * SECOND))
    assert one.process.is_alive
    loop.run_to(4 * SECOND)
    assert (one.process.is_alive, one.count) == (False, 3)
    loop.discard()


def test_an_alarm_rings_once_for_the_last_time_it_was_set(loop: VirtualLoop) -> None:
    home, rung = machine(loop, 1_000_000), []
    alarm = LocalAlarm(home, Process("one", loop), lambda: rung.append(loop.now))
    alarm.set(8 * SECOND)
    alarm.set(9 * SECOND)
    loop.run_to(5 * SECOND)
    assert rung == [2 * SECOND]
    alarm.set(0)
    loop.run_to(6 * SECOND)
    assert rung == [2 * SECOND, 5 * SECOND]
    loop.discard()
