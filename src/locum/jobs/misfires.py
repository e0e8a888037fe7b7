"""What becomes of times at which nobody was there to fire. Pure, and never longer than what is kept.

A time is *missed* when it is older than the grace. `latest` makes one run of all, for the last of them; `none` leaves
them out; `earliest` makes one, for the first; `all` makes one each, the newest `most` of those in the `window`. A time
that is not missed fires in any case; with `latest` it is that one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from locum.errors import ScheduleError

if TYPE_CHECKING:
    from locum.jobs.triggers import Trigger

__all__ = ["Due", "Misfire", "MisfirePolicy", "due", "unharmed"]

MisfirePolicy = Literal["latest", "none", "earliest", "all"]
_POLICIES: Final = ("latest", "none", "earliest", "all")
_LONGEST_GRACE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfire:
    """What becomes of missed times.

    Attributes:
        policy: `latest`, `none`, `earliest` or `all`.
        most: How many `all` makes up for.
        window: How many seconds back `all` looks.
        grace: Seconds after which a time is missed; half a period, and a minute at most, if none are given.

    Raises:
        ScheduleError: It cannot be.
    """

    policy: MisfirePolicy = "latest"
    most: int = 100
    window: float = 3600.0
    grace: float | None = None

    def __post_init__(self) -> None:
        """See that it can be."""
        if self.policy not in _POLICIES:
            raise ScheduleError(f"misfire={self.policy!r} is not known: it is one of {', '.join(_POLICIES)}")
        if not 1 <= self.most <= 10_000:
            raise ScheduleError(f"most={self.most!r}: 1 to 10,000 missed times can be made up for")
        if not self.window > 0 or not (self.grace is None or self.grace > 0):
            raise ScheduleError(f"window={self.window!r} and grace={self.grace!r} must be more than 0 seconds")


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at an instant.

    Attributes:
        fires: The times that fire, the oldest first.
        dropped: The first and the last of the times that do not; `None` if all do.
        next: The time after the instant; `None` if there is none.
    """

    fires: tuple[datetime, ...]
    dropped: tuple[datetime, datetime] | None
    next: datetime | None


def due(trigger: Trigger, planned: datetime, now: datetime, misfire: Misfire) -> Due:
    """What is to be done now about a time that was planned and is not in the future any more."""
    following = trigger.next_after(now)
    last = trigger.last_until(now)
    if last is None or last <= planned:
        last = planned
    missed_until = now - _grace(trigger, planned, misfire)
    if last == planned and planned >= missed_until:
        return Due((planned,), None, following)
    on_time = _backwards(trigger, last, at_least=max(planned, missed_until), most=misfire.most)
    match misfire.policy:
        case "latest":
            fires = [last]
        case "none":
            fires = on_time
        case "earliest":
            fires = [planned, *(one for one in on_time if one > planned)]
        case _:
            begin = max(planned, min(missed_until, now - timedelta(seconds=misfire.window)))
            fires = _backwards(trigger, last, at_least=begin, most=misfire.most)
    return Due(tuple(fires), _dropped(trigger, planned, last, fires, misfire), following)


def unharmed(trigger: Trigger, misfire: Misfire, *, most: float) -> float:
    """For how many seconds it may be left open whether a time fires, and nothing comes of it but that.

    It is not missed by then, and no other one has come.

    Args:
        trigger: When it fires.
        misfire: When a time is missed.
        most: The answer is never more.
    """
    if trigger.grain is not None:
        most = min(most, trigger.grain.total_seconds() / 4)
    return min(most, misfire.window / 2, most if misfire.grace is None else misfire.grace / 2)


def _grace(trigger: Trigger, planned: datetime, misfire: Misfire) -> timedelta:
    if misfire.grace is not None:
        return timedelta(seconds=misfire.grace)
    period = trigger.period(planned)
    return _LONGEST_GRACE if period is None else min(period / 2, _LONGEST_GRACE)


def _backwards(trigger: Trigger, last: datetime, *, at_least: datetime, most: int) -> list[datetime]:
    """The newest of the times from one instant on up to `last`, the oldest first."""
    found: list[datetime] = []
    at: datetime | None = last
    while at is not None and at >= at_least and len(found) < most:
        found.append(at)
        at = trigger.last_until(at - timedelta(microseconds=1))
    return found[::-1]


def _dropped(
    trigger: Trigger, planned: datetime, last: datetime, fires: list[datetime], misfire: Misfire
) -> tuple[datetime, datetime] | None:
    """The ends of what does not fire."""
    if not fires:
        return planned, last
    if misfire.policy == "earliest":
        first = trigger.next_after(planned)
        end = fires[1] if len(fires) > 1 else last + timedelta(microseconds=1)
        if first is None or first >= end:
            return None
        return first, trigger.last_until(end - timedelta(microseconds=1)) or first
    if fires[0] <= planned:
        return None
    return planned, trigger.last_until(fires[0] - timedelta(microseconds=1)) or planned
