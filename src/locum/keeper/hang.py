"""An event loop that does not turn: told of after one TTL, and its worker ended after `hang_timeout`.

Nobody would take over from such a worker: its keeper beats on, so its terms go on and nothing of them is done.

Only time counts in which the loop could have turned: not while the worker was stopped, and not while the keeper itself
was, or the whole machine. So what was frozen has its chance to turn after it.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from locum.clock import Clock

__all__ = ["HangStep", "HangWatch", "Loop", "check_hang_timeout", "look_after_loop", "turn_interval"]

_LEAST: Final = 0.5
_LOOKS: Final = 8  # in the shorter of both times


class HangStep(Enum):
    """What to do about a loop."""

    NOTHING = "nothing"
    WARN = "tell where it stands"
    END = "end its worker"


def check_hang_timeout(hang_timeout: float) -> float:
    """A `hang_timeout` as it was given.

    Raises:
        ConfigurationError: A loop that turns could not be told from one that hangs within it.
    """
    if not hang_timeout >= _LEAST:
        raise ConfigurationError(
            f"a hang_timeout of {hang_timeout!r} s cannot be: it is at least {_LEAST} s, or math.inf for never"
        )
    return hang_timeout


def turn_interval(ttl: float, hang_timeout: float) -> float:
    """Seconds from one sign of a loop that turns to the next, and from one look at it to the next."""
    return min(ttl, hang_timeout) / _LOOKS


class HangWatch:
    """Judges one worker's event loop. Without I/O: it is fed with looks and asked for the next step.

    Args:
        ttl: The TTL in seconds.
        hang_timeout: Seconds after which the worker is ended; `math.inf` for never.
    """

    def __init__(self, ttl: float, hang_timeout: float) -> None:
        self._ttl = ttl
        self._limit(hang_timeout)
        self._next: float | None = None
        self._turns_before = 0
        self._looked_at = self._turned_at = self._hung = 0
        self._was_stopped = self._warned = self._ended = False

    def limit(self, hang_timeout: float) -> None:
        """Another `hang_timeout` is to hold, as soon as the loop can have been told to turn as often as that needs."""
        # it may have turned just before it was told, unseen, and then sleeps for as long as it used to
        self._next, self._turns_before = hang_timeout, 2

    def _take_limit(self, *, due: bool) -> None:
        if self._next is not None and due:
            self._limit(self._next)
            self._next = None

    def _limit(self, hang_timeout: float) -> None:
        self.interval = turn_interval(self._ttl, hang_timeout)
        """Seconds from one look to the next."""
        self._warn_after = nanoseconds(self._ttl if self._ttl < hang_timeout else hang_timeout / 2)
        self._end_after = None if math.isinf(hang_timeout) else nanoseconds(hang_timeout)
        self._longest = 2 * nanoseconds(self.interval)

    @property
    def hung(self) -> float:
        """Seconds for which the loop could have turned and has not."""
        return seconds(self._hung)

    def look(self, turned_at: int, *, now: int, stopped: bool) -> HangStep:
        """Take in one look.

        Args:
            turned_at: When the loop last turned, as it said itself; 0 if it never has.
            now: When it was looked (the same clock, ns).
            stopped: Whether the worker is stopped.

        Returns:
            What to do now.
        """
        # what is longer than it should be is time in which we could not look: we were stopped, or the machine was
        passed = min(now - self._looked_at, self._longest)
        was_stopped, self._was_stopped, self._looked_at = self._was_stopped, stopped, now
        if turned_at != self._turned_at or not turned_at:
            self._turned_at, self._hung = turned_at, 0
            self._warned = self._ended = False
            self._turns_before -= 1
            self._take_limit(due=self._turns_before <= 0)
            return HangStep.NOTHING
        if not (stopped or was_stopped):
            self._hung += passed
            self._take_limit(due=self._hung > self._longest)  # by its old habit, too, it should have turned
        if self._end_after is not None and self._hung >= self._end_after:
            ended, self._ended = self._ended, True
            return HangStep.NOTHING if ended else HangStep.END
        if not self._warned and self._hung >= self._warn_after:
            self._warned = True
            return HangStep.WARN
        return HangStep.NOTHING


class Loop(Protocol):
    """Somebody's event loop."""

    @property
    def turned_at(self) -> int:
        """When it last turned, as it says itself (boot clock, ns); 0 if it never has."""

    @property
    def is_stopped(self) -> bool:
        """Whether its process is stopped."""

    def tell_of_hang(self, hung: float) -> None:
        """It hangs, for so many seconds: tell where it stands."""

    def end_hung(self, hung: float) -> None:
        """It hung for `hang_timeout`: end it."""


async def look_after_loop(watch: HangWatch, loop: Loop, *, clock: Clock) -> None:
    """Look at a loop for ever; to be run as a task."""
    while True:
        await clock.sleep(watch.interval)
        step = watch.look(loop.turned_at, now=clock.now(), stopped=loop.is_stopped)
        if step is HangStep.WARN:
            loop.tell_of_hang(watch.hung)
        elif step is HangStep.END:
            loop.end_hung(watch.hung)
