"""Misfires, overlaps and retries: decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from locum.errors import ScheduleError
from locum.jobs.job import Roster
from locum.jobs.misfires import Misfire, due
from locum.jobs.overlap import Admission, Overlap, admit
from locum.jobs.retry import Retry
from locum.jobs.triggers import Cron, Every, between
from tests.unit.jobs.book import job

PLANNED = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOURLY = Every(3600)


def hour(number: float) -> datetime:
    return PLANNED + timedelta(hours=number)


def test_a_time_that_is_on_time_fires_whatever_the_policy() -> None:
    for policy in ("latest", "none", "earliest", "all"):
        found = due(HOURLY, PLANNED, hour(0.001), Misfire(policy=policy))
        assert (found.fires, found.dropped, found.next) == ((PLANNED,), None, hour(1))


@pytest.mark.parametrize(
    ("misfire", "fires", "dropped"),
    [
        (Misfire(policy="latest"), [3], (0, 2)),
        (Misfire(policy="none"), [], (0, 3)),
        (Misfire(policy="earliest"), [0], (1, 3)),
        (Misfire(policy="all", window=10 * 3600), [0, 1, 2, 3], None),
        (Misfire(policy="all", window=2 * 3600), [2, 3], (0, 1)),
        (Misfire(policy="all", window=10 * 3600, most=1), [3], (0, 2)),
    ],
)
def test_j05_down_for_three_hours(misfire: Misfire, fires: list[int], dropped: tuple[int, int] | None) -> None:
    found = due(HOURLY, PLANNED, hour(3.5), misfire)
    assert list(found.fires) == list(map(hour, fires))
    assert found.dropped == (dropped and (hour(dropped[0]), hour(dropped[1])))
    assert found.next == hour(4)


def test_what_is_not_missed_fires_beside_what_is_made_up_for() -> None:
    now = hour(3) + timedelta(seconds=10)
    assert due(HOURLY, PLANNED, now, Misfire(policy="none")).fires == (hour(3),)
    assert due(HOURLY, PLANNED, now, Misfire(policy="earliest")).fires == (hour(0), hour(3))
    assert due(HOURLY, PLANNED, now, Misfire(policy="latest")).fires == (hour(3),)
    assert due(HOURLY, PLANNED, now, Misfire(policy="earliest")).dropped == (hour(1), hour(2))
    every = Misfire(policy="all", window=1.0, grace=30.0)
    later = PLANNED + timedelta(seconds=5)
    assert len(due(Every(1), PLANNED, later, every).fires) == 6, "what is not missed was left out for its window"


@given(
    policy=some.sampled_from(["latest", "none", "earliest", "all"]),
    step=some.floats(0.5, 90_000),
    away=some.floats(0, 1_000_000),
    grace=some.none() | some.floats(0.1, 10_000),
    most=some.integers(1, 20),
)
def test_nothing_fires_twice_or_early_and_all_that_does_not_is_told(
    policy: Any, step: float, away: float, grace: float | None, most: int
) -> None:
    trigger = Every(step)
    planned = trigger.next_after(PLANNED)
    assert planned is not None
    now = planned + timedelta(seconds=away)
    found = due(trigger, planned, now, Misfire(policy=policy, grace=grace, most=most))
    assert found.next is not None
    assert found.next > now
    assert all(planned <= one <= now and trigger.last_until(one) == one for one in found.fires)
    assert all(earlier < later for earlier, later in pairwise(found.fires))
    if found.dropped is None:
        if away / step < 1000:
            assert list(found.fires) == list(between(trigger, planned, found.next))
    else:
        assert found.dropped[0] <= found.dropped[1]
        assert not any(found.dropped[0] <= one <= found.dropped[1] for one in found.fires)
        if away / step < 1000:
            told = list(between(trigger, found.dropped[0], found.dropped[1] + timedelta(microseconds=1)))
            assert sorted([*found.fires, *told]) == list(between(trigger, planned, found.next))


def test_j05_a_month_of_seconds_is_dropped_without_counting_them() -> None:
    found = due(Every(0.1), PLANNED, PLANNED + timedelta(days=3650), Misfire(policy="all", most=5, window=1e9))
    assert len(found.fires) == 5


@pytest.mark.parametrize(
    ("overlap", "running", "waiting", "expected"),
    [
        (Overlap(), 0, 0, Admission.WAIT),
        (Overlap(), 1, 0, Admission.SKIP),
        (Overlap(), 0, 1, Admission.SKIP),
        (Overlap(policy="buffer_one"), 1, 0, Admission.WAIT),
        (Overlap(policy="buffer_one"), 1, 1, Admission.SKIP),
        (Overlap(policy="buffer_one"), 0, 1, Admission.WAIT),
        (Overlap(policy="buffer_one"), 0, 2, Admission.SKIP),
        (Overlap(policy="buffer_all", most=3), 1, 2, Admission.WAIT),
        (Overlap(policy="buffer_all", most=3), 1, 3, Admission.SKIP),
        (Overlap(policy="cancel_running"), 1, 0, Admission.REPLACE),
        (Overlap(policy="cancel_running"), 0, 0, Admission.WAIT),
        (Overlap(policy="allow", most=3), 2, 0, Admission.WAIT),
        (Overlap(policy="allow", most=3), 2, 1, Admission.SKIP),
    ],
)
def test_j08_overlaps(overlap: Overlap, running: int, waiting: int, expected: Admission) -> None:
    assert admit(overlap, running=running, waiting=waiting) is expected


def test_a_pause_is_drawn_from_nothing_up_to_a_maximum_that_doubles() -> None:
    retry = Retry(attempts=10, initial=1.0, maximum=8.0)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8)):
        drawn = [retry.pause(ValueError(), failures=failures) for _ in range(200)]
        assert all(one is not None and 0 <= one <= longest for one in drawn)
        assert max(one for one in drawn if one is not None) > longest / 2


def test_what_is_not_tried_again_is_given_up() -> None:
    retry = Retry(attempts=3, on=(OSError,))
    assert retry.pause(ValueError(), failures=1) is None
    assert retry.pause(OSError(), failures=2) is not None
    assert retry.pause(OSError(), failures=3) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Misfire(policy="some"),  # type: ignore[arg-type]
        lambda: Misfire(most=0),
        lambda: Misfire(grace=0.0),
        lambda: Overlap(policy="some"),  # type: ignore[arg-type]
        lambda: Overlap(most=0),
        lambda: Retry(attempts=0),
        lambda: Retry(initial=2, maximum=1),
    ],
)
def test_j10_what_cannot_be_is_told_at_once(make: Any) -> None:
    with pytest.raises(ScheduleError):
        make()


@pytest.mark.parametrize(
    ("options", "patience"),
    [
        ({"trigger": None}, 5.0),
        ({"trigger": Every(3600)}, 5.0),
        ({"trigger": Every(4)}, 1.0),
        ({"trigger": Cron("* * * * *")}, 5.0),
        ({"trigger": Cron("* * * * * *")}, 0.25),
        ({"trigger": Every(3600), "misfire": Misfire(grace=0.5)}, 0.25),
        ({"trigger": Every(3600), "misfire": Misfire(policy="all", window=1.0)}, 0.5),
        ({"trigger": Every(3600), "overlap": Overlap(policy="cancel_running")}, 0.0),
    ],
)
def test_how_long_a_time_may_be_left_to_others(options: Any, patience: float) -> None:
    """It is not missed by then, no other one has come, and what it cancels is cancelled at once."""
    roster = Roster()
    roster.declare(job("other"))
    roster.declare(job("sum", **options))
    assert roster.patience == patience
