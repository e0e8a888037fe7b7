"""How instants, durations, places and tables read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from locum.cli.tables import Cell, Column, Table, plain
from locum.cli.words import age, instant, one_line, place_in_line

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (None, "–"),  # noqa: RUF001 - the dash that is shown
        (-1.0, "0.0 s"),
        (0.25, "0.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (120.0, "2 min"),
        (7200.0, "2 h"),
        (864000.0, "10 d"),
    ],
)
def test_ages(duration: float | None, text: str) -> None:
    assert age(duration) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-04T09:30:15.5+00:00", "11:30:15"),
        ("2026-03-03T09:30:15+00:00", "2026-03-03 11:30"),
        ("2026-03-03T23:30:15+00:00", "01:30:15"),
        ("soon", "soon"),
        ("", "–"),  # noqa: RUF001 - the dash that is shown
    ],
)
def test_instants_for_people(text: str, shown: str) -> None:
    assert instant(text, now=NOW) == shown


def test_instants_for_programs_are_utc() -> None:
    assert instant("2026-03-04T09:30:15.512345+00:00", now=None) == "2026-03-04T09:30:15Z"


@pytest.mark.parametrize(
    ("place", "text"), [(1, "next"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st"), (112, "112th")]
)
def test_places(place: int, text: str) -> None:
    assert place_in_line(place) == text


def test_what_others_wrote_does_not_disturb_the_terminal() -> None:
    assert one_line("raised\n ValueError:\x1b[31m red\x00") == "raised ValueError: [31m red"


def test_a_plain_table_has_one_line_a_row() -> None:
    table = Table([Column("Name"), Column("Pid", right=True)], [[Cell("a\nb"), Cell("7")], [Cell("c"), Cell("1234")]])
    assert plain("Top", [table], ["said"]) == "Top\n\nNAME   PID\na; b     7\nc     1234\n\nsaid\n"
