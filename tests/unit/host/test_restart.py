"""Whether and when a service is run again; and when that has been too often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.clock import NANOSECONDS
from locum.errors import ConfigurationError, CrashLoopError
from locum.host.restart import Restart, Restarts
from tests.unit.kit import ManualClock

BOOM = ValueError("boom")


def judge(policy: Restart) -> tuple[Restarts, ManualClock]:
    clock = ManualClock()
    return Restarts("metrics", policy, clock=clock), clock


@pytest.mark.parametrize(
    ("when", "after_error", "after_return"),
    [("never", False, False), ("on_failure", True, False), ("always", True, True)],
)
def test_the_policy_says_after_what_it_is_run_again(when: str, after_error: bool, after_return: bool) -> None:
    restarts, _ = judge(Restart.of(when))  # type: ignore[arg-type]
    assert (restarts.after(BOOM, ran=1.0) is not None) == after_error
    assert (restarts.after(None, ran=1.0) is not None) == after_return
    assert restarts.count == after_error + after_return


def test_pauses_double_with_jitter_up_to_the_last_and_begin_anew_after_healthy_time() -> None:
    restarts, _ = judge(Restart(first=1.0, last=3.0, healthy_after=60.0, most=100))
    for bound in (1.0, 2.0, 3.0, 3.0):
        delay = restarts.after(BOOM, ran=59.0)
        assert delay is not None
        assert bound / 2 <= delay <= bound
    assert (restarts.after(BOOM, ran=60.0) or 9) <= 1.0


def test_once_more_than_the_most_in_the_window_is_a_crash_loop_with_its_cause() -> None:
    restarts, clock = judge(Restart(most=2, within=60.0))
    assert restarts.after(BOOM, ran=0.0) is not None
    clock.pass_by(50)
    assert restarts.after(BOOM, ran=0.0) is not None
    clock.pass_by(10)
    with pytest.raises(CrashLoopError, match="metrics failed 3 times within 60 s") as crash:
        restarts.after(BOOM, ran=0.0)
    assert crash.value.__cause__ is BOOM


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(0, 5))
def test_it_is_a_crash_loop_exactly_when_so_many_fall_into_one_window(gaps: list[int], most: int) -> None:
    restarts, clock = judge(Restart(most=most, within=60.0))
    instants: list[int] = []
    for gap in gaps:
        clock.pass_by(gap)
        instants.append(clock.now())
        within = [one for one in instants if clock.now() - one <= 60 * NANOSECONDS]
        try:
            assert restarts.after(BOOM, ran=0.0) is not None
            assert len(within) <= most
        except CrashLoopError:
            assert len(within) > most
            instants.clear()


def test_what_is_not_its_fault_is_paused_for_and_not_counted() -> None:
    restarts, _ = judge(Restart(most=1))
    for _ in range(10):
        assert restarts.pause() > 0
    assert restarts.after(BOOM, ran=0.0) is not None


@pytest.mark.parametrize(
    "wrong",
    [{"when": "sometimes"}, {"most": -1}, {"within": 0.0}, {"first": 0.0}, {"first": 5.0, "last": 1.0}],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Restart(**wrong)  # type: ignore[arg-type]


def test_a_window_is_measured_in_nanoseconds_of_the_clock() -> None:
    restarts, clock = judge(Restart(most=1, within=0.5))
    restarts.after(BOOM, ran=0.0)
    clock.pass_by(0.5 + 1 / NANOSECONDS)
    assert restarts.after(BOOM, ran=0.0) is not None
