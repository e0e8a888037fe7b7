"""What the contenders share: when to begin, how long to go on, and what is told. It imports no library at all."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

__all__ = ["GO", "HELD", "STANDING", "Turns", "in_groups"]

T = TypeVar("T")

STANDING = "standing"
"""What a contender says once it could begin."""
GO = "go"
"""What it is told then."""
HELD = "held"
"""What it says once it holds all of its many locks; it keeps them until it is told to go on."""


_AT_ONCE = 50  # a thousand at once would wait for each other longer than a call of theirs may take


async def in_groups(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What calls give, so many of them at once as a program would ask for."""
    found: list[T] = []
    for begin in range(0, len(calls), _AT_ONCE):
        found += await asyncio.gather(*(call() for call in calls[begin : begin + _AT_ONCE]))
    return found


class Turns:
    """The turns of one process at a lock, or its many locks.

    Attributes:
        server: Where the server is: a port of 127.0.0.1, or a store's URL.
        scope: What the lock is called.
        ttl: Seconds.
        many: How many locks to hold at once instead; 0 for turns at one.
    """

    def __init__(self) -> None:
        self.server, self.scope = os.environ["BENCH_SERVER"], os.environ["BENCH_SCOPE"]
        self.ttl, self.many = float(os.environ["BENCH_TTL"]), int(os.environ["BENCH_MANY"])
        self._seconds = float(os.environ["BENCH_SECONDS"])
        self._held: list[tuple[int, int]] = []

    @property
    def names(self) -> list[str]:
        """The names of the many."""
        return [f"{self.scope}-{number}" for number in range(self.many)]

    def run(self, take: Callable[[], object], give_back: Callable[[], object]) -> None:
        """Take turns until the time is over, and tell."""
        end = self._begin()
        while time.monotonic_ns() < end:
            take()
            taken = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._held.append((taken, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
            give_back()
        self._tell()

    async def run_in_loop(
        self, take: Callable[[], Awaitable[object]], give_back: Callable[[], Awaitable[object]]
    ) -> None:
        """The same, for a library of asyncio's."""
        end = self._begin()
        while time.monotonic_ns() < end:
            await take()
            taken = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._held.append((taken, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
            await give_back()
        self._tell()

    def begin_many(self) -> None:
        """Say that the many could be taken, and wait for the word."""
        self._begin()
        self._held.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME), 0))

    def had_many(self) -> None:
        """All were taken just now."""
        self._end_span()

    def hold_many(self, held: Iterable[object]) -> None:
        """Hold them until told to go on; a loop that has to renew something calls it in a thread.

        Args:
            held: Of each whether it is held, as its library says: nobody is measured who only seemed to take them.
        """
        answers = [bool(each) for each in held]
        assert answers == [True] * self.many, f"{answers.count(True)} of {self.many} locks are held"
        sys.stdout.write(f"{HELD}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        self._held.append((time.clock_gettime_ns(time.CLOCK_BOOTTIME), 0))

    def gave_many(self) -> None:
        """All were given back just now: tell how long the taking and the giving back took."""
        self._end_span()
        self._tell()

    def _end_span(self) -> None:
        begun, _ = self._held.pop()
        self._held.append((begun, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))

    def _begin(self) -> int:
        sys.stdout.write(f"{STANDING}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        return time.monotonic_ns() + round(self._seconds * 1e9)

    def _tell(self) -> None:
        sys.stdout.write(f"{json.dumps(self._held)}\n")
        sys.stdout.flush()
