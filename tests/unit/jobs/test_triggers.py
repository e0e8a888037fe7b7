"""When a job fires, in many zones and over many changes of their clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from locum.errors import ScheduleError
from locum.jobs.cron import Pattern
from locum.jobs.triggers import Cron, Every, Once, Trigger, between

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Paris",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Havana",
    "Asia/Beirut",
    "Pacific/Chatham",
    "America/Asuncion",
    "Africa/Cairo",
)
CHANGES = [  # days around which walls are changed in one zone or another
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 4, 5, tzinfo=UTC),
    datetime(2026, 4, 24, tzinfo=UTC),
    datetime(2026, 10, 4, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2011, 12, 29, tzinfo=UTC),  # Apia leaves a day out
    datetime(2026, 2, 15, tzinfo=UTC),  # Casablanca
]
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(trigger: Trigger, begin: str, end: str) -> list[str]:
    return [one.strftime("%d %H:%M") for one in between(trigger, at(begin), at(end))]


GOLDEN = [
    # the walls skip 02:00 to 03:00: at once after the gap
    ("30 2 * * *", "America/New_York", "2026-03-07", "2026-03-10", ["07 07:30", "08 07:00", "09 06:30"]),
    # 01:00 to 02:00 comes twice: in the first pass
    ("30 1 * * *", "America/New_York", "2026-11-01", "2026-11-03", ["01 05:30", "02 06:30"]),
    ("30 2 * * *", "Europe/Paris", "2026-03-28", "2026-03-31", ["28 01:30", "29 01:00", "30 00:30"]),
    ("30 2 * * *", "Europe/Paris", "2026-10-25", "2026-10-27", ["25 00:30", "26 01:30"]),
    # half an hour only
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03 20:00", "2026-04-06", ["04 14:45", "05 15:15"]),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02 20:00", "2026-10-05", ["03 15:30", "04 15:15"]),
    # how often, rather than when: all the time that passes
    ("*/30 1 * * *", "America/New_York", "2026-11-01", "2026-11-02", ["01 05:00", "01 05:30", "01 06:00", "01 06:30"]),
    ("0 * * * *", "Europe/Paris", "2026-03-29", "2026-03-29 04:00", ["29 00:00", "29 01:00", "29 02:00", "29 03:00"]),
    # two times that the gap has swallowed are one after it
    ("15,30 2 * * *", "America/New_York", "2026-03-08", "2026-03-09", ["08 07:00"]),
    (
        "*/10 3 * * *",
        "Australia/Lord_Howe",
        "2026-04-04 13:00",
        "2026-04-04 17:00",
        ["04 16:30", "04 16:40", "04 16:50"],
    ),
]


@pytest.mark.parametrize(("expression", "zone", "begin", "end", "expected"), GOLDEN)
def test_j06_the_golden_table(expression: str, zone: str, begin: str, end: str, expected: list[str]) -> None:
    assert fires(Cron(expression, tz=zone), begin, end) == expected


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(60, "60"), (0.5, "0.5"), (2_592_000, "2592000"), (2_592_001, "2592001"), (1.000001, "1.000001")],
)
def test_an_interval_is_told_without_a_rounding(seconds: float, told: str) -> None:
    """By its text it is known whether a schedule is another one."""
    assert Every(seconds).text == f"every {told} s since 1970-01-01T00:00:00+00:00"


def test_a_time_in_a_gap_can_be_left_out() -> None:
    cron = Cron("30 2 * * *", tz="America/New_York", gap="skip")
    assert fires(cron, "2026-03-07", "2026-03-10") == ["07 07:30", "09 06:30"]


def test_j06_a_start_inside_the_second_pass_does_not_fire_again() -> None:
    cron = Cron("30 1 * * *", tz="America/New_York")
    assert cron.next_after(at("2026-11-01 06:15")) == at("2026-11-02 06:30")
    assert cron.last_until(at("2026-11-01 06:45")) == at("2026-11-01 05:30")


def by_looking(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """The same rules, found the slow way: minute by minute, by what the wall of each shows."""
    pattern, rules, found = Pattern(expression), ZoneInfo(zone), []
    instant = begin
    while instant < end:
        local, before = instant.astimezone(rules), (instant - MINUTE).astimezone(rules)
        wall, earlier = local.replace(tzinfo=None, fold=0), before.replace(tzinfo=None, fold=0)
        fixed = pattern.names_a_time
        skipped = [earlier + MINUTE * n for n in range(1, max(1, (wall - earlier) // MINUTE))]
        if (pattern.matches(wall) and not (fixed and local.fold)) or (fixed and any(map(pattern.matches, skipped))):
            found.append(instant)
        instant += MINUTE
    return found


MINUTES = ("0", "30", "15", "5,45", "*/20", "*", "H", "10-12")
HOURS = ("0", "1", "2", "3", "23", "*", "*/2", "1-3", "H(0-4)")


@settings(max_examples=60, deadline=None)
@given(
    minute=some.sampled_from(MINUTES),
    hour=some.sampled_from(HOURS),
    zone=some.sampled_from(ZONES),
    day=some.sampled_from(CHANGES),
)
def test_it_fires_as_the_walls_say_forwards_and_backwards(minute: str, hour: str, zone: str, day: datetime) -> None:
    expression = f"{minute} {hour} * * *"
    begin, end = day - timedelta(hours=16), day + timedelta(hours=40)
    cron, expected = Cron(expression, tz=zone), by_looking(expression, zone, begin, end)
    assert list(between(cron, begin, end)) == expected
    backwards, last = [], cron.last_until(end - timedelta(seconds=1))
    while last is not None and last >= begin:
        backwards.append(last)
        last = cron.last_until(last - timedelta(seconds=1))
    assert backwards[::-1] == expected


@settings(max_examples=100, deadline=None)
@given(
    expression=some.sampled_from(
        ("0 12 * * *", "30 2 1 * *", "0 0 29 2 *", "*/7 * * * 1-5", "0 9 L * *", "0 0 * * 5#2")
    ),
    zone=some.sampled_from(ZONES),
    days=some.integers(0, 20_000),
    second=some.integers(0, 86_399),
)
def test_the_next_and_the_last_fit_together(expression: str, zone: str, days: int, second: int) -> None:
    instant = at("1975-01-01") + timedelta(days=days, seconds=second)
    cron = Cron(expression, tz=zone)
    following, last = cron.next_after(instant), cron.last_until(instant)
    assert following is not None
    assert last is not None
    assert last <= instant < following
    assert cron.next_after(last) == following
    assert cron.last_until(following) == following
    assert cron.last_until(following - timedelta(microseconds=1)) == last


def test_either_day_is_enough_as_in_vixies_cron_and_sunday_is_0_and_7() -> None:
    assert fires(Cron("0 12 13 * 5"), "2026-01-01", "2026-01-14") == ["02 12:00", "09 12:00", "13 12:00"]
    assert fires(Cron("0 12 * * 0"), "2026-01-01", "2026-01-12") == ["04 12:00", "11 12:00"]
    assert fires(Cron("0 12 * * 7"), "2026-01-01", "2026-01-12") == ["04 12:00", "11 12:00"]


def test_seconds_stand_first_where_there_are_six_fields() -> None:
    cron = Cron("*/20 * * * * *")
    assert cron.next_after(at("2026-01-01 00:00:20")) == at("2026-01-01 00:00:40")


@pytest.mark.parametrize("expression", ["H * * * *", "H/15 * * * *", "H H * * *", "H(0-29) H(1-3) * * *", "0 0 H * H"])
def test_h_is_a_place_that_the_seed_decides(expression: str) -> None:
    texts = {Pattern(expression, seed=f"job-{number}").text for number in range(50)}
    assert len(texts) > 5
    assert Pattern(expression, seed="a").text == Pattern(expression, seed="a").text


def test_h_with_a_step_fires_as_often() -> None:
    times = list(between(Cron("H/15 * * * *", seed="x"), at("2026-01-01"), at("2026-01-02")))
    assert len(times) == 96
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=15)}


@pytest.mark.parametrize(
    ("expression", "tz", "told"),
    [
        ("0 0 31 11 *", "UTC", "Bad day-of-month"),
        ("0 0 30 2 *", "UTC", "Bad day-of-month"),
        ("* * * *", "UTC", "has 4 fields"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("H(50-70) * * * *", "UTC", "no part of a minute"),
        ("Hx * * * *", "UTC", "no H"),
        ("0 0 * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("0 0 * * *", "../etc/passwd", "no time zone"),
    ],
)
def test_j10_what_cannot_be_is_told_at_once(expression: str, tz: str, told: str) -> None:
    with pytest.raises(ScheduleError, match=told.replace("(", r"\(")):
        Cron(expression, tz=tz)


def test_a_grid_lies_where_it_is() -> None:
    every = Every(90)
    assert every.next_after(at("1970-01-01 00:01:30")) == at("1970-01-01 00:03:00")
    assert every.last_until(at("1970-01-01 00:01:30")) == at("1970-01-01 00:01:30")
    assert every.last_until(at("1970-01-01 00:01:29")) == at("1970-01-01 00:00:00")


def test_once_is_once() -> None:
    once = Once(at("2026-01-01 12:00"))
    assert once.next_after(at("2026-01-01")) == at("2026-01-01 12:00")
    assert once.next_after(at("2026-01-01 12:00")) is None
    assert once.last_until(at("2026-01-01 11:00")) is None
    with pytest.raises(ScheduleError, match="has no zone"):
        Once(at("2026-01-01").replace(tzinfo=None))


def test_an_interval_that_is_none_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ScheduleError):
            Every(wrong)
