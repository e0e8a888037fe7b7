"""A step of a user's code within its time: what does not end is cancelled, and what ignores that is left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from locum.scopes import cancel_and_wait
from locum.services.standing import SlowEnd, stacks_of, where
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from locum.scopes import Scope

__all__ = ["TimeIsUpError", "bounded"]

_log = logger("services.bounded")
_PATIENCE: Final = 5.0  # s, for what was cancelled because its time was up


class TimeIsUpError(Exception):
    """A step did not end in its time.

    Attributes:
        where: Where it stood.
        task: Its task; one that is not done has ignored that it was cancelled, and runs on.
    """

    def __init__(self, where: str, task: asyncio.Task[Any]) -> None:
        self.where, self.task = where, task
        super().__init__(where)


async def bounded(
    work: Coroutine[Any, Any, None], *, name: str, limit: float, scope: Scope, patience: float = _PATIENCE
) -> None:
    """Do something within its time; what ignores that its time is up is left behind, and told of.

    Args:
        work: What.
        name: Whose it is, for people.
        limit: Seconds that it may take.
        scope: Owns its task.
        patience: Seconds that it may take to end when it is cancelled.

    Raises:
        TimeIsUpError: It has not ended in time.
    """
    task = scope.spawn(work, name=f"hook of {name}")
    slow = SlowEnd(lambda passed: _log.warning("%s: %.0f s, and it still stands %s", name, passed, where([task])))
    try:
        await asyncio.wait([task], timeout=limit)
        if task.done():
            task.result()
            return
        place = where([task])
        if not await cancel_and_wait(task, timeout=patience):
            _log.error("%s ignored that its time was up. Where it stands:\n%s", name, stacks_of([task]))
            scope.forget(task)
        raise TimeIsUpError(place, task)
    except asyncio.CancelledError:
        if not await cancel_and_wait(task, timeout=patience):
            scope.forget(task)
        raise
    finally:
        slow.close()
