"""A loop that does not turn: when it is told of, when its worker is ended, and what time does not count."""

from __future__ import annotations

import math

import pytest

from locum.errors import ConfigurationError
from locum.keeper.hang import HangStep, HangWatch, check_hang_timeout, turn_interval
from tests.unit.kit import ManualClock

TTL = 6.0
HANG = 30.0


class Looked:
    """A watch with its clock, and a worker that turns, hangs or is stopped as the test says."""

    def __init__(self, ttl: float = TTL, hang_timeout: float = HANG) -> None:
        self.clock = ManualClock()
        self.watch = HangWatch(ttl, hang_timeout)
        self.turned_at = 0

    def look(self, *, stopped: bool = False) -> HangStep:
        return self.watch.look(self.turned_at, now=self.clock.now(), stopped=stopped)

    def turn(self) -> None:
        """The loop turns, and is looked at."""
        self.turned_at = self.clock.now()
        assert self.look() is HangStep.NOTHING

    def steps(self, duration: float, *, stopped: bool = False) -> dict[HangStep, float]:
        """Look for some seconds at the watch's own pace; when each step was asked for first."""
        found: dict[HangStep, float] = {}
        for number in range(1, round(duration / self.watch.interval) + 1):
            self.clock.pass_by(self.watch.interval)
            found.setdefault(self.look(stopped=stopped), number * self.watch.interval)
        found.pop(HangStep.NOTHING, None)
        return found


@pytest.fixture
def looked() -> Looked:
    looked = Looked()
    looked.turn()
    return looked


def test_one_ttl_is_told_and_the_hang_timeout_ends(looked: Looked) -> None:
    assert looked.steps(45) == {HangStep.WARN: TTL, HangStep.END: HANG}
    assert looked.watch.hung == 45


def test_it_is_told_once_each_time_that_it_hangs(looked: Looked) -> None:
    for _ in range(2):
        looked.turn()
        told = [looked.steps(looked.watch.interval) for _ in range(16)]
        assert [HangStep.WARN in found for found in told].count(True) == 1


def test_a_loop_that_turns_now_and_then_is_left_alone(looked: Looked) -> None:
    for _ in range(20):
        assert looked.steps(TTL - 1) == {}
        looked.turn()


def test_a_loop_that_never_turned_is_not_judged() -> None:
    """There is none yet: the user's module is being imported, or the store is not there."""
    assert Looked().steps(100) == {}


@pytest.mark.parametrize("before", [0.0, 4.0])
def test_time_in_which_the_worker_was_stopped_does_not_count(looked: Looked, before: float) -> None:
    looked.steps(before)
    hung = looked.watch.hung
    assert looked.steps(100, stopped=True) == {}
    looked.clock.pass_by(looked.watch.interval)
    assert looked.look() is HangStep.NOTHING, "it goes on just now"
    assert looked.watch.hung == hung
    looked.turn()
    assert looked.watch.hung == 0


def test_a_worker_that_hung_before_it_was_stopped_hangs_on_after_it(looked: Looked) -> None:
    looked.steps(21)
    looked.steps(100, stopped=True)
    assert HangStep.END not in looked.steps(HANG - 21)
    assert HangStep.END in looked.steps(1)


@pytest.mark.parametrize("jump", [10.0, 100.0, 1e6])
def test_time_in_which_nobody_could_look_does_not_count(looked: Looked, jump: float) -> None:
    """The machine was suspended, or worker and keeper were stopped together: the clock has jumped."""
    looked.clock.pass_by(jump)
    assert looked.look() is HangStep.NOTHING
    assert looked.watch.hung <= 2 * looked.watch.interval
    assert looked.steps(1) == {}
    looked.turn()


def test_a_long_ttl_does_not_keep_the_stacks_from_being_told() -> None:
    looked = Looked(ttl=600, hang_timeout=30)
    looked.turn()
    assert looked.steps(40) == {HangStep.WARN: 15, HangStep.END: 30}


def test_another_limit_holds_once_the_loop_can_know_of_it(looked: Looked) -> None:
    """Just before it was told it may have turned once more, unseen: the turn after that is the first that counts."""
    usual = looked.watch.interval
    looked.watch.limit(0.5)
    for _ in range(2):
        assert looked.steps(usual) == {}, "it turns as often as it used to"
        looked.turn()
    assert looked.steps(1) == {HangStep.WARN: 0.25, HangStep.END: 0.5}
    looked.turn()
    looked.watch.limit(math.inf)
    for _ in range(2):
        looked.clock.pass_by(0.1)
        looked.turn()
    assert looked.steps(1000) == {HangStep.WARN: TTL}


def test_another_limit_holds_for_a_loop_that_does_not_turn_any_more(looked: Looked) -> None:
    looked.watch.limit(2.0)
    assert looked.steps(2 * looked.watch.interval) == {}
    assert HangStep.END in looked.steps(3)


def test_never_is_never() -> None:
    looked = Looked(hang_timeout=math.inf)
    looked.turn()
    assert looked.steps(10_000) == {HangStep.WARN: TTL}


@pytest.mark.parametrize(("ttl", "hang_timeout"), [(6, 30), (600, 30), (0.5, math.inf), (6, 0.5)])
def test_a_loop_shows_several_turns_within_the_shorter_time(ttl: float, hang_timeout: float) -> None:
    assert turn_interval(ttl, hang_timeout) <= min(ttl, hang_timeout) / 5


@pytest.mark.parametrize("wrong", [0, -1.0, 0.49, math.nan, -math.inf])
def test_what_no_loop_could_keep_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigurationError, match=r"a hang_timeout of .* cannot be: it is at least 0.5 s"):
        check_hang_timeout(wrong)


@pytest.mark.parametrize("right", [0.5, 30, math.inf])
def test_the_rest_is_taken(right: float) -> None:
    assert check_hang_timeout(right) == right
