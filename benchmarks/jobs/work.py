"""What the contenders share: what is to fire when, and where a body notes that it has begun. It imports no library."""

from __future__ import annotations

import os
import struct
import sys
import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["NOTE", "STANDING", "Work"]

STANDING: Final = "standing"
"""What a worker says once it could fire."""
NOTE: Final = struct.Struct("<QQQ")
"""Which schedule, the time that it fired for (ns), and when its body began (ns)."""


class Work:
    """What the processes of one contender have to do.

    Attributes:
        server: The database's URL.
        many: How many schedules there are; or, where they are not repeated, runs.
        period: Seconds from one time of a schedule to its next, spread over all evenly; 0 if each has one alone.
        at: When it begins (s since 1970).
        seconds: For how long it goes on, where it is repeated.
        is_to_prepare: Whether this process makes ready what the others work on.
    """

    def __init__(self) -> None:
        self.server = os.environ["BENCH_SERVER"]
        self.many, self.period = int(os.environ["BENCH_MANY"]), float(os.environ["BENCH_PERIOD"])
        self.at, self.seconds = float(os.environ["BENCH_AT"]), float(os.environ["BENCH_SECONDS"])
        self.is_to_prepare = os.environ["BENCH_ROLE"] == "prepare"
        self._file = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def first(self, number: int) -> datetime:
        """The first time of a schedule."""
        return datetime.fromtimestamp(self.at + self.period * number / self.many, UTC)

    def note(self, number: int, fire_at: datetime | None = None) -> None:
        """A body has begun; for the latest time of its schedule, if its library does not tell it for which."""
        begun = time.time_ns()
        if fire_at is not None:
            due = round(fire_at.timestamp() * 1e9)
        else:
            first, step = round(self.first(number).timestamp() * 1e9), round(self.period * 1e9)
            due = first + (begun - first) // step * step if step else first
        os.write(self._file, NOTE.pack(number, due, begun))

    @staticmethod
    def stand() -> None:
        """Say that this process could fire."""
        sys.stdout.write(f"{STANDING}\n")
        sys.stdout.flush()
