"""Instants and durations as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOTHING", "age", "how_far", "instant", "one_line", "place_in_line", "ranges"]

_WIDTH: Final = 12
_MOST: Final = 24  # names in a row
NOTHING: Final = "–"  # noqa: RUF001 - a dash that cannot be taken for a minus


def age(duration: float | None) -> str:
    """A duration in seconds, in one unit: `0.3 s`, `42 s`, `17 min`, `5 h`, `12 d`."""
    if duration is None:
        return NOTHING
    if duration < 9.95:
        return f"{max(0.0, duration):.1f} s"
    if duration < 100:
        return f"{duration:.0f} s"
    if duration < 100 * 60:
        return f"{duration / 60:.0f} min"
    if duration < 48 * 3600:
        return f"{duration / 3600:.0f} h"
    return f"{duration / 86400:.0f} d"


def instant(text: str, *, now: datetime | None) -> str:
    """An instant (ISO 8601) for people: by their own clock and without the date if that is today's.

    Args:
        text: The instant; what is none is shown as it is.
        now: This moment, in the reader's time zone; `None` for a program, which gets UTC in full.
    """
    if not text:
        return NOTHING
    try:
        at = datetime.fromisoformat(text)
        if now is None:
            return at.isoformat(timespec="seconds").replace("+00:00", "Z")
        at = at.astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        return text
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def how_far(done: float, of: float | None, per_second: float | None, left: float | None) -> str:
    """How far something is, as a picture and in numbers: `█████░░░░░░░ 43/100, 4.1/s, 14 s left`."""
    bar = ""
    if of is not None:
        full = int(_WIDTH * done / of) if of else _WIDTH
        bar = f"{'█' * full}{'░' * (_WIDTH - full)} "
    told = [_amount(done) + ("" if of is None else f"/{_amount(of)}")]
    told += [_rate(per_second)] if per_second else []
    told += [f"{age(left)} left"] if left is not None and of != done else []
    return bar + ", ".join(told)


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def _rate(per_second: float) -> str:
    for many, unit in ((1, "s"), (60, "min")):
        if per_second * many >= 0.95:
            return f"{per_second * many:,.1f}/{unit}"
    return f"{per_second * 3600:,.1f}/h"


def ranges(names: Sequence[str]) -> str:
    """Names in a row, those that are numbers as ranges: `0-3, 7, 9, 10`; of very many the first ones."""
    if not all(name.isdecimal() for name in names):
        return _cut(names)
    told: list[list[int]] = []
    for number in sorted(map(int, names)):
        if told and number == told[-1][-1] + 1:
            told[-1].append(number)
        else:
            told.append([number])
    return _cut([f"{one[0]}-{one[-1]}" if len(one) > 2 else ", ".join(map(str, one)) for one in told])


def _cut(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_MOST]) + (f" and {len(texts) - _MOST} more" if len(texts) > _MOST else "")


def one_line(text: str) -> str:
    """What somebody else wrote, such as an exception's message, without what would disturb a terminal."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def place_in_line(place: int) -> str:
    """A place in line: `next`, `2nd`, `3rd`, `4th`."""
    if place == 1:
        return "next"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"
