"""The clocks of this machine."""

from __future__ import annotations

import time
from datetime import UTC

import pytest

from locum.clock import NANOSECONDS, Clock, nanoseconds, seconds


def test_leases_are_counted_on_the_clock_that_counts_suspend() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = Clock().now()
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert type(now) is int


def test_the_wall_clock_is_in_utc() -> None:
    assert Clock().wall().tzinfo is UTC


async def test_a_sleep_is_not_over_early() -> None:
    clock = Clock()
    begun = clock.now()
    await clock.sleep(0.01)
    assert clock.now() - begun >= nanoseconds(0.009)  # the loop's clock may round down by its resolution


@pytest.mark.parametrize("duration", [0.0, -1.0, -1e12])
async def test_a_sleep_into_the_past_is_over_at_once(duration: float) -> None:
    await Clock().sleep(duration)


@pytest.mark.parametrize(
    ("duration", "whole"), [(0.0, 0), (1.0, NANOSECONDS), (0.1, 10**8), (2.5e-9, 2), (-0.5, -5 * 10**8)]
)
def test_seconds_as_whole_nanoseconds(duration: float, whole: int) -> None:
    assert nanoseconds(duration) == whole
    assert type(nanoseconds(duration)) is int


def test_nanoseconds_as_seconds() -> None:
    assert seconds(1_500_000_000) == 1.5
