"""When a job fires: by a cron expression, every so often, or once. Pure: instants in, instants out.

An expression names what the walls of a zone show. Where these are set forward, a time that they skip comes at once
after the gap (or not at all); where they are set back, it comes in the first pass only. An expression that says how
often (`*/30`, `0 *`) follows the time that passes, through both passes.

A wall is asked for within a stretch of one offset; only at the seams between two stretches the rules above decide.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Protocol

from locum.errors import ScheduleError
from locum.jobs.cron import Pattern
from locum.jobs.zones import SECOND, Zone

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cron", "Every", "Gap", "Once", "Trigger", "between"]

Gap = Literal["after", "skip"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST: Final = timedelta(milliseconds=100)


class Trigger(Protocol):
    """Says when; the same on every instance, and whatever was asked before."""

    @property
    def text(self) -> str:
        """What it is, in a text that changes with its meaning."""

    @property
    def grain(self) -> timedelta | None:
        """The shortest that two of its times can be apart; `None` if there are not two."""

    @property
    def follows_walls(self) -> bool:
        """Whether the rules of a zone say when: a later release of these may say it differently."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first time after an instant; `None` if there is none any more."""

    def last_until(self, instant: datetime) -> datetime | None:
        """The last time not after an instant; `None` if there is none."""

    def period(self, instant: datetime) -> timedelta | None:
        """How long it is from the next time after an instant to the one after that; `None` if there are not two."""


class Every:
    """Every so many seconds, on a grid that lies where it is for ever.

    Args:
        seconds: From one time to the next, at least 0.1.
        since: A time of the grid.

    Raises:
        ScheduleError: It cannot be.
    """

    def __init__(self, seconds: float, *, since: datetime = _EPOCH) -> None:
        if not _LEAST.total_seconds() <= seconds < 1e9:
            raise ScheduleError(f"every={seconds!r}: a schedule fires every 0.1 seconds or less often")
        self._step, self._since = timedelta(seconds=seconds), _in_utc(since, "since")
        self.grain, self.follows_walls = self._step, False
        self.text = f"every {_exactly(self._step)} s since {self._since.isoformat()}"

    def next_after(self, instant: datetime) -> datetime | None:
        """The first time of the grid after an instant."""
        return self._since + ((instant - self._since) // self._step + 1) * self._step

    def last_until(self, instant: datetime) -> datetime | None:
        """The last time of the grid not after an instant."""
        return self._since + (instant - self._since) // self._step * self._step

    def period(self, instant: datetime) -> timedelta | None:
        """The grid's step."""
        del instant
        return self._step


class Once:
    """Once, at an instant.

    Args:
        at: The instant, with its zone.

    Raises:
        ScheduleError: It has none.
    """

    def __init__(self, at: datetime) -> None:
        self._at = _in_utc(at, "at")
        self.grain, self.follows_walls = None, False
        self.text = f"once at {self._at.isoformat()}"

    def next_after(self, instant: datetime) -> datetime | None:
        """The instant, if it is later."""
        return self._at if self._at > instant else None

    def last_until(self, instant: datetime) -> datetime | None:
        """The instant, if it is not later."""
        return self._at if self._at <= instant else None

    def period(self, instant: datetime) -> timedelta | None:
        """There are no two."""
        del instant
        return None


class Cron:
    """By a cron expression, in a zone.

    Args:
        expression: See `locum.jobs.cron.Pattern`.
        tz: The zone's name in the IANA database.
        gap: What becomes of a time that the walls skip: it comes `after` the gap, or is `skip`ped.
        seed: Decides what `H` stands for.

    Raises:
        ScheduleError: It cannot be.
    """

    def __init__(self, expression: str, *, tz: str = "UTC", gap: Gap = "after", seed: str = "") -> None:
        if gap not in ("after", "skip"):
            raise ScheduleError(f"gap={gap!r} is not known: it is after or skip")
        self._pattern, self._zone, self._gap = Pattern(expression, seed=seed), Zone(tz), gap
        self.grain, self.follows_walls = self._pattern.grain, tz != "UTC"
        self.text = f"cron {self._pattern.text} in {tz}" + (", none in a gap" if gap == "skip" else "")

    def next_after(self, instant: datetime) -> datetime | None:
        """The first time after an instant."""
        at = _whole(instant)
        while True:
            offset = self._zone.offset(at)
            candidate = self._pattern.after(self._zone.wall(at)).replace(tzinfo=UTC) - offset
            seam = self._zone.first_change(at, candidate)
            at = candidate if seam is None else seam
            if self._fires(at):
                return at

    def last_until(self, instant: datetime) -> datetime | None:
        """The last time not after an instant."""
        at = _whole(instant)
        while not self._fires(at):
            offset = self._zone.offset(at)
            candidate = self._pattern.before(self._zone.wall(at)).replace(tzinfo=UTC) - offset
            seam = self._zone.last_change(candidate, at)
            if seam is None:
                at = candidate
            elif seam < at:
                at = seam
            else:  # the walls were changed at this very instant
                at -= SECOND
        return at

    def period(self, instant: datetime) -> timedelta | None:
        """From the next time to the one after it."""
        first = self.next_after(instant)
        second = first and self.next_after(first)
        return second - first if first and second else None

    def _fires(self, at: datetime) -> bool:
        """Whether it fires at an instant."""
        fixed = self._pattern.names_a_time
        if self._pattern.matches(self._zone.wall(at)) and not (fixed and self._zone.is_second_pass(at)):
            return True
        return fixed and self._gap == "after" and self._skipped_before(at)

    def _skipped_before(self, at: datetime) -> bool:
        """Whether the walls have just skipped a time that was meant."""
        old, new = self._zone.offset(at - SECOND), self._zone.offset(at)
        if new <= old:
            return False
        first, end = (at + old).replace(tzinfo=None), (at + new).replace(tzinfo=None)
        return self._pattern.after(first - SECOND) < end


def between(trigger: Trigger, first: datetime, end: datetime) -> Iterator[datetime]:
    """All times from one instant on, and before another."""
    at = trigger.next_after(first - timedelta(microseconds=1))
    while at is not None and at < end:
        yield at
        at = trigger.next_after(at)


def _whole(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)


def _exactly(step: timedelta) -> str:
    """Seconds without a rounding, by which two intervals would seem to be one."""
    whole, rest = divmod(step, SECOND)
    return str(whole) if not rest else f"{whole}.{rest.microseconds:06}".rstrip("0")


def _in_utc(instant: datetime, name: str) -> datetime:
    if instant.tzinfo is None:
        raise ScheduleError(f"{name}={instant!r} has no zone: give it one, such as tzinfo=UTC")
    return instant.astimezone(UTC)
