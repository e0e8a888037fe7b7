"""The only reader of time.

Leases are counted on `CLOCK_BOOTTIME`: it never goes back, it counts suspend, and it is the same for every process of a
boot (R4, R29). The wall clock is for people to read and decides nothing. Whoever measures time takes a `Clock`, so that
a simulation can hand out one of its own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

__all__ = ["NANOSECONDS", "Clock", "Readings", "nanoseconds", "seconds"]

NANOSECONDS: Final = 1_000_000_000


def nanoseconds(duration: float) -> int:
    """A duration in seconds as whole nanoseconds."""
    return round(duration * NANOSECONDS)


def seconds(duration: int) -> float:
    """A duration in nanoseconds as seconds."""
    return duration / NANOSECONDS


@dataclass(frozen=True, slots=True)
class Readings:
    """This machine's clocks at one moment, in nanoseconds, each counted from an instant of its own.

    Attributes:
        boot: `CLOCK_BOOTTIME`: what leases are counted on.
        monotonic: `CLOCK_MONOTONIC`: the same, suspend not counted.
        raw: `CLOCK_MONOTONIC_RAW`: what the hardware counts, corrected by nobody.
        wall: `CLOCK_REALTIME`: may be set.
    """

    boot: int
    monotonic: int
    raw: int
    wall: int


class Clock:
    """This machine's clocks."""

    def now(self) -> int:
        """The instant, in nanoseconds of `CLOCK_BOOTTIME`; comparable within one boot only."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        """The wall clock in UTC, for people; nothing is decided by it."""
        return datetime.now(UTC)

    def readings(self) -> Readings:
        """All clocks at once, for whoever compares them; a lease needs `now` alone."""
        ids = (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW, time.CLOCK_REALTIME)
        return Readings(*map(time.clock_gettime_ns, ids))

    async def sleep(self, duration: float) -> None:
        """Sleep for some seconds of this clock (suspend not counted: use an alarm for what must count it)."""
        await asyncio.sleep(max(0.0, duration))
