"""The only reader of time.

Leases are counted on `CLOCK_BOOTTIME`: it never goes back, it counts suspend, and it is the same for every process of a
boot (R4, R29). The wall clock is for people to read and decides nothing. Whoever measures time takes a `Clock`, so that
a simulation can hand out one of its own.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["NANOSECONDS", "Clock", "nanoseconds", "seconds"]

NANOSECONDS: Final = 1_000_000_000


def nanoseconds(duration: float) -> int:
    """A duration in seconds as whole nanoseconds."""
    return round(duration * NANOSECONDS)


def seconds(duration: int) -> float:
    """A duration in nanoseconds as seconds."""
    return duration / NANOSECONDS


class Clock:
    """This machine's clocks."""

    def now(self) -> int:
        """The instant, in nanoseconds of `CLOCK_BOOTTIME`; comparable within one boot only."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        """The wall clock in UTC, for people; nothing is decided by it."""
        return datetime.now(UTC)

    async def sleep(self, duration: float) -> None:
        """Sleep for some seconds of this clock (suspend not counted: use an alarm for what must count it)."""
        await asyncio.sleep(max(0.0, duration))
