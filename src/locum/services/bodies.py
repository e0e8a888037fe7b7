"""Running one body: how it ends, and how it is ended."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from locum import exit_codes
from locum.errors import StopTimeoutError, TermEndedError
from locum.identity import Origin
from locum.scopes import cancel_and_wait
from locum.services.standing import SlowEnd, stacks_of, tasks_of, where
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.scopes import Scope

__all__ = ["Body", "contained"]

_log = logger("services.bodies")


class Body:
    """One run of a user's code, in a task of its own.

    Where the code runs in a thread, the task waits for the thread: it has ended when the thread has, not before.

    Args:
        service: Whose body it is.
        work: What it does.
        scope: Owns the task.
    """

    def __init__(self, service: str, work: Any, *, scope: Scope) -> None:
        self._service, self._scope = service, scope
        self._hurried = asyncio.Event()
        self._slow: SlowEnd | None = None
        self.task: asyncio.Task[object] = scope.spawn(contained(work), name=f"body of {service}")

    async def ended(self) -> None:
        """Wait for its end, whatever it is."""
        await asyncio.wait([self.task])

    @property
    def error(self) -> BaseException | None:
        """What it raised; `None` if it returned, was cancelled, or still runs."""
        if not self.task.done() or self.task.cancelled():
            return None
        outcome = self.task.result()
        return outcome if isinstance(outcome, BaseException) else None

    async def ends_by_itself(self, *, within: float) -> bool:
        """Wait until it has ended because it was asked to, at most for so many seconds or until it is hurried.

        Returns:
            Whether it has.
        """
        if self.task.done():
            return True
        self._tell_if_slow()
        hurried = self._scope.spawn(self._hurried.wait(), name="hurry")
        try:
            await asyncio.wait([self.task, hurried], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        return self.task.done()

    def hurry(self) -> None:
        """Do not wait any longer for it to end by itself."""
        self._hurried.set()

    async def end(self, *, timeout: float) -> None:
        """Cancel it and wait until it has ended.

        Raises:
            StopTimeoutError: It has not, within `timeout` seconds.
        """
        self._tell_if_slow()
        if not await cancel_and_wait(self.task, timeout=timeout):
            self._end_of_telling()
            stacks = stacks_of(tasks_of(self._service))
            _log.error("%s ignored that it was cancelled. Where it stands:\n%s", self._service, stacks)
            self._scope.forget(self.task)
            raise StopTimeoutError(self._service, timeout)

    def _tell_if_slow(self) -> None:
        if self._slow is None and not self.task.done():
            self._slow = SlowEnd(self._tell_slow)
            self.task.add_done_callback(lambda _: self._end_of_telling())

    def _end_of_telling(self) -> None:
        if self._slow is not None:
            self._slow.close()

    def _tell_slow(self, passed: float) -> None:
        place = where(tasks_of(self._service))
        _log.warning("%s was asked to end %.0f s ago, and still stands %s", self._service, passed, place)


async def contained(work: Any) -> object:
    """The outcome of the work as a value: an error is its owner's to judge, not the task's.

    A forked child that comes back from it ends here.
    """
    origin = Origin("a body")
    try:
        await work
    except BaseException as error:
        if not origin.is_here:
            _leave_child(error)
        if isinstance(error, asyncio.CancelledError):
            raise
        if isinstance(error, TermEndedError) and _is_cancelled():  # it asked, and was told: another way to end
            raise asyncio.CancelledError from error
        return error
    if not origin.is_here:
        _leave_child(None)
    return None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _leave_child(error: BaseException | None) -> NoReturn:
    """End a forked child that comes back from the body: it must not go on as a second copy of this process."""
    code = exit_codes.CLEAN
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or exit_codes.CLEAN
    elif error is not None:
        traceback.print_exception(error)
        code = exit_codes.SERVICE_FAILED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it is gone
    os._exit(code)
