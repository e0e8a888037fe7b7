"""A block that holds something: cancelled when that is over, awaited, and only then let go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from locum.clock import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.commons import Commons
    from locum.coordination.hold import Hold

__all__ = ["Keeping", "held"]

H = TypeVar("H", bound="Hold")
H_contra = TypeVar("H_contra", bound="Hold", contravariant=True)


class Keeping(Protocol[H_contra]):
    """What becomes of a hold when its block has ended."""

    async def resign(self, hold: H_contra, why: str) -> None:
        """Give it up."""

    def abandon(self, hold: H_contra) -> None:
        """Have done with one that was lost."""

    def give_up(self, hold: H_contra, why: str) -> None:
        """Have done with one whose block would not end (R19)."""

    def has(self, hold: H_contra) -> bool:
        """Whether nothing has become of it yet."""


@asynccontextmanager
async def held(hold: H, keeping: Keeping[H], commons: Commons, *, stop_timeout: float) -> AsyncIterator[H]:
    """Hold something for the length of the block.

    If it is lost or its end is asked for, the block is cancelled, and `HoldEndedError` is raised from it.

    Args:
        hold: What is held.
        keeping: What becomes of it.
        commons: Whose it is.
        stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.
    """
    task = cast("asyncio.Task[object]", asyncio.current_task())
    before = task.cancelling()  # a block may be entered by one that is being cancelled, to clear up
    cancelled = False

    async def cancel_when_over() -> None:
        nonlocal cancelled
        await hold.over()
        cancelled = True
        if not hold.is_lost:
            hold.end(hold.wish or "resigned")
        task.cancel()
        # the keeper sees to the end of a lost one at its deadline, unless beats are answered again before that
        limit = seconds(hold.lease.budget.ttl) if hold.is_lost else stop_timeout
        await commons.clock.sleep(limit)
        keeping.give_up(hold, f"did not stop within {limit:g} s")

    watching = commons.spawn(cancel_when_over(), f"end of the hold of {hold.scope}")
    commons.leads.add(watching)
    watching.add_done_callback(commons.leads.discard)
    why = "resigned"
    try:
        yield hold
        # the block has swallowed its cancellation: it is told nevertheless (a thread is never cancelled, and knows)
        if cancelled and asyncio.current_task() is task:
            task.uncancel()
            raise hold.over_error(hold.ended or hold.wish or why)
    except asyncio.CancelledError:
        if not cancelled or task.uncancel() > before:
            raise
        why = hold.ended or hold.wish or why
        raise hold.over_error(why) from None
    except BaseException as error:
        if cancelled and task.cancelling() > before:
            task.uncancel()  # it ended by another error than our cancellation, which must not outlive the block
        # only our own cancellation asks the lease: a forked child that leaves the block must not
        over = (hold.ended or hold.wish) if cancelled else None
        why = over or f"raised {type(error).__name__}: {error}"
        raise
    finally:
        watching.cancel()
        if not keeping.has(hold):
            pass  # it was given up: this is the end that it counted as having had
        elif not commons.origin.is_here:
            pass  # a forked child leaves the block: the hold is its parent's
        elif hold.is_lost:
            keeping.abandon(hold)
        else:
            await keeping.resign(hold, why)
