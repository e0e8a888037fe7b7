"""Cron expressions: what the walls must show, read by cronsim behind a type of ours, and `H` for a place by hash.

cronsim is asked about walls only, which know no zone; what a change of the offset means stands in `triggers`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Final

from locum.errors import ConfigurationError, ScheduleError

__all__ = ["Pattern", "place_by_hash"]

_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 28),
    ("month", 1, 12),
    ("dow", 0, 6),
)
_HASHED: Final = re.compile(r"H(?:\((?P<low>\d+)-(?P<high>\d+)\))?(?:/(?P<step>\d+))?")
_PROBE: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall, which has no zone


def place_by_hash(seed: str, among: int) -> int:
    """A number below `among`, the same for a seed everywhere and for ever."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest()) % among


class Pattern:
    """What a wall must show: five fields as in Vixie's cron, or six with the seconds first.

    If a day of the month and a day of the week are both named, either is enough. `H` in a field is a place in it that
    the seed decides, `H(0-29)` one of these, `H/15` every fifteenth from such a place on.

    Args:
        expression: The fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        seed: Decides what `H` stands for: the job's name.

    Raises:
        ScheduleError: It cannot be read, or no day is ever like that.
    """

    def __init__(self, expression: str, *, seed: str = "") -> None:
        try:
            import cronsim
        except ImportError as error:
            raise ConfigurationError("cron expressions need 'cronsim': pip install 'locum[jobs]'") from error
        self._library = cronsim
        self.expression = expression
        fields = _SHORT.get(expression.strip().lower(), expression).upper().split()
        if len(fields) not in (5, 6):
            raise ScheduleError(
                f"the cron expression {expression!r} has {len(fields)} fields: write 5, or 6 with seconds"
            )
        kinds = _FIELDS[-len(fields) :]
        self.text = " ".join(
            _with_places(field, kind, expression, seed) for field, kind in zip(fields, kinds, strict=True)
        )
        self.grain = timedelta(seconds=1 if len(fields) == 6 else 60)
        """The shortest that two times can be apart."""
        minute, hour = self.text.split()[-5:-3]
        self.names_a_time = not (minute.startswith("*") or hour.startswith("*"))
        """Whether it says when on a day, rather than how often: such a time comes once a day, however it is shifted."""
        try:
            next(cronsim.CronSim(self.text, _PROBE))
        except (cronsim.CronSimError, StopIteration, ValueError) as error:
            why = str(error) or "no day is ever like that"
            raise ScheduleError(f"the cron expression {expression!r} cannot be: {why}") from error

    def after(self, wall: datetime) -> datetime:
        """The first wall after this one that is like that."""
        return next(self._library.CronSim(self.text, wall))

    def before(self, wall: datetime) -> datetime:
        """The last wall before this one that is like that."""
        return next(self._library.CronSim(self.text, wall, reverse=True))

    def matches(self, wall: datetime) -> bool:
        """Whether a wall is like that."""
        return self.after(wall - timedelta(seconds=1)) == wall


def _with_places(field: str, kind: tuple[str, int, int], expression: str, seed: str) -> str:
    """One field, with places for each `H` in it."""
    return ",".join(_with_place(part, kind, expression, seed) if "H" in part else part for part in field.split(","))


def _with_place(part: str, kind: tuple[str, int, int], expression: str, seed: str) -> str:
    found = _HASHED.fullmatch(part)
    if found is None:
        if kind[0] in ("month", "dow"):
            return part  # MAR, THU
        raise ScheduleError(f"the cron expression {expression!r} cannot be: {part!r} is no H, H(LOW-HIGH) or H/STEP")
    name, least, most = kind
    low, high = (int(found[end]) if found[end] else default for end, default in (("low", least), ("high", most)))
    step = int(found["step"]) if found["step"] else 0
    if not least <= low <= high <= max(most, 31 if name == "day" else most) or (found["step"] and step < 1):
        raise ScheduleError(f"the cron expression {expression!r} cannot be: {part!r} is no part of a {name}")
    among = min(step, high - low + 1) if step else high - low + 1
    place = low + place_by_hash(f"{seed}/{name}", among)
    return f"{place}-{high}/{step}" if step else str(place)
