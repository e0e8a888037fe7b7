"""The small rooms that decide without I/O: whose session is over, and whether a clock was set."""

from __future__ import annotations

import pytest

from locum.jobs.steadiness import Steadiness

SECOND = 1_000_000_000


def test_a_clock_that_goes_as_time_does_is_not_told_however_slow_the_answers_are() -> None:
    clock = Steadiness()
    for at, answered in ((0, 1), (10, 14), (20, 20), (3600, 3605), (7200, 7201)):
        read = 1_000_000_000 + (at + answered) / 2
        assert clock.step(round(read * 1e6), at * SECOND, answered * SECOND) == 0.0


@pytest.mark.parametrize("by", [3600, -3600, 5, -5])
def test_a_clock_that_was_set_is_told_once(by: int) -> None:
    clock = Steadiness()
    assert clock.step(1_000_000, SECOND, SECOND) == 0.0
    assert clock.step((2 + by) * 1_000_000, 2 * SECOND, 2 * SECOND) == pytest.approx(by)
    assert clock.step((3 + by) * 1_000_000, 3 * SECOND, 3 * SECOND) == 0.0
