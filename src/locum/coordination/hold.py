"""A hold: one uninterrupted time of having something, be it alone (`Term`) or with others (`Share`)."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.context import Context
from locum.errors import HoldEndedError
from locum.scopes import post

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from locum.clock import Clock
    from locum.keeper.lease import Lease

__all__ = ["Hold", "Share"]


def _nothing() -> None: ...


class Hold(Context):
    """One uninterrupted time of having something.

    Attributes:
        name: What is held.
        instance: The instance that holds it.
        since: When it began, for people.
        scope: The name under which it is coordinated.
    """

    def __init__(self, name: str, *, scope: str, instance: str, lease: Lease, clock: Clock) -> None:
        super().__init__(name, clock=clock)
        self.scope, self.instance = scope, instance
        self.since: datetime = clock.wall()
        self.lease = lease
        self._ended: str | None = None
        self._lost = False
        self._wish: str | None = None
        self._changed = asyncio.Event()
        self._on_lost: list[Callable[[str], object]] = []
        self._forget: Callable[[], object] = lease.on_end(self.lose)

    # -- for the body

    @property
    def is_current(self) -> bool:
        """Whether the work may go on at this very moment: a memory read, no I/O.

        Once `False`, never `True` again (R5).
        """
        if self._ended is None and not self.lease.is_current:
            self.lose("lost its lease: its deadline has passed")
        return self._ended is None

    @property
    def remaining(self) -> float:
        """Seconds for which it is certain, if no further beat is answered; 0 if it is over."""
        return max(0.0, seconds(self.lease.cancel_at - self._clock.now())) if self.is_current else 0.0

    @property
    def ended(self) -> str | None:
        """Why it is over, in words that follow the instance's name; `None` while it is not."""
        return None if self.is_current else self._ended

    def check(self) -> None:
        """Raise `HoldEndedError` if it is over; no I/O."""
        if not self.is_current:
            raise self.over_error(self._ended or "it ended")

    # -- for those who run the body

    @property
    def is_lost(self) -> bool:
        """Whether it was taken from us (otherwise it was given up, or still runs)."""
        return self._lost

    @property
    def wish(self) -> str | None:
        """Why somebody asked for its planned end, in words that follow the instance's name."""
        return self._wish

    def over_error(self, why: str) -> HoldEndedError:
        """What is raised where it is over."""
        return HoldEndedError(self.scope, why)

    def ask_to_resign(self, why: str) -> None:
        """Wish for a planned end; the first wish counts."""
        if self._wish is None:
            self._wish = why
        post(self._loop, self._changed.set)

    async def over(self) -> None:
        """Wait until it is lost or its planned end is wished for."""
        await self._changed.wait()

    def when_lost(self, callback: Callable[[str], object]) -> None:
        """Call something once, in the event loop, with the reason, when this is lost."""
        self._on_lost.append(callback)

    def end(self, why: str) -> None:
        """It is given up: nothing is current any more."""
        if self._ended is None:
            self._ended = why
        self._forget()
        # these have this in turn: it would wait for a collection, and that for all that lives
        self._on_lost, self._forget = [], _nothing
        # also when a thread finds out: an event that is set elsewhere than in its loop wakes nobody
        post(self._loop, self._stopping.set)
        post(self._loop, self._changed.set)

    def lose(self, why: str) -> None:
        """It was taken from us."""
        if self._ended is None:
            self._lost = True
            callbacks = self._on_lost
            self.end(why)
            for callback in callbacks:
                post(self._loop, functools.partial(callback, why))


class Share(Hold):
    """One of several holds of the same thing: a read, or a permit. It has no token, for it excludes nobody alone.

    Promises: as long as it is current, nobody has what it excludes (a write; one permit too many).
    Assumes: work that ignores its end is ended with its process (`kill`), or harms nobody.
    On loss: `check()` raises, `ended` says why, and the block is cancelled.
    """
