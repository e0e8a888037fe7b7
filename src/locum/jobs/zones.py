"""Time zones as rules between instants and wall clocks: where the offset changes, and what that skips or repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from locum.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECOND", "Zone"]

SECOND: Final = timedelta(seconds=1)
_STRIDE: Final = timedelta(days=1)  # no zone has changed its offset twice within one


class Zone:
    """A zone of the IANA database.

    Args:
        name: Its name, such as `Europe/Paris`.

    Raises:
        ScheduleError: There is no zone of that name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._rules: tzinfo = UTC if name == "UTC" else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ScheduleError(
                f"there is no time zone {name!r} here: write it like Europe/Paris; where the system has none, install"
                " tzdata"
            ) from error

    def wall(self, instant: datetime) -> datetime:
        """What the clocks on the walls show at an instant, without a zone."""
        return instant.astimezone(self._rules).replace(tzinfo=None, fold=0)

    def offset(self, instant: datetime) -> timedelta:
        """How far the walls are ahead of UTC at an instant."""
        found = instant.astimezone(self._rules).utcoffset()
        return timedelta(0) if found is None else found

    def is_second_pass(self, instant: datetime) -> bool:
        """Whether the walls show for the second time what they have shown once, because they were set back."""
        return instant.astimezone(self._rules).fold == 1

    def first_change(self, after: datetime, until: datetime) -> datetime | None:
        """The first instant after one and not after another at which the offset is another than before."""
        if self._rules is UTC:
            return None
        old, low = self.offset(after), after
        while low < until:
            high = min(low + _STRIDE, until)
            if self.offset(high) != old:
                return self._narrow(low, high, lambda instant: self.offset(instant) != old)
            low = high
        return None

    def last_change(self, after: datetime, until: datetime) -> datetime | None:
        """The last instant after one and not after another at which the offset became what it is at the latter."""
        if self._rules is UTC:
            return None
        new, high = self.offset(until), until
        while high > after:
            low = max(high - _STRIDE, after)
            if self.offset(low) != new:
                return self._narrow(low, high, lambda instant: self.offset(instant) == new)
            high = low
        return None

    @staticmethod
    def _narrow(low: datetime, high: datetime, is_after: Callable[[datetime], bool]) -> datetime:
        """The first whole second between two instants that is after the change."""
        while high - low > SECOND:
            middle = low + timedelta(seconds=(high - low) // SECOND // 2)
            low, high = (low, middle) if is_after(middle) else (middle, high)
        return high
