"""A thread that does calls in order, each under a deadline of ours.

A call that does not return cannot be interrupted, so it is left behind. Whether it had *begun* decides what the caller
is told: a call that had not (it queued, or waited for the writers' lock) will never run, and may safely be tried again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.forks import quiet_at_forks
from locum.identity import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Call", "Lane"]

T = TypeVar("T")


class _LeftBehindError(Exception):
    """The caller has given up; the call must not begin any more."""


class Call(Generic[T]):
    """One call on its way through a lane."""

    def __init__(self, work: Callable[[Call[T]], T], future: asyncio.Future[T]) -> None:
        self.work, self.future = work, future
        self._loop = future.get_loop()
        self._guard = threading.Lock()
        self._begun = self._left = False

    def begin(self) -> None:
        """Say, in the lane, that from here on the store may be changed."""
        with self._guard:
            if self._left:
                raise _LeftBehindError
            self._begun = True

    def leave(self) -> bool:
        """Give the call up.

        Returns:
            Whether it had not begun, and so never will.
        """
        with self._guard:
            self._left = True
            return not self._begun

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Bring the outcome back into the caller's loop."""
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody is left who could be told

    def _settle(self, result: T | None, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]  # None only where T is None


class Lane:
    """One thread, calls in order.

    Args:
        name: The thread's name.
        store: The store's URL, for messages.
        hint: What to do about a call that does not get its turn, for messages.
        at_end: Called in the thread, when it ends.
    """

    def __init__(self, name: str, store: str, *, hint: str, at_end: Callable[[], object]) -> None:
        self._store, self._hint, self._at_end = store, hint, at_end
        self._origin = Origin(f"the open store {store}")
        self._queue: queue.SimpleQueue[Call[object] | None] = queue.SimpleQueue()
        self._busy = threading.Lock()
        quiet_at_forks(self._busy)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, name: str, work: Callable[[Call[T]], T], *, timeout: float) -> T:
        """Do something in the thread, within `timeout` seconds.

        Raises:
            StoreUnavailableError: It did not happen and never will.
            OutcomeUnknownError: It had begun, and no answer came in time.
            ForkedError: This is a forked child, which does not have the thread.
        """
        self._origin.check()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        call = Call(work, future)
        self._queue.put(call)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()  # it came in time: it was this event loop that was late
            if call.leave():
                why = f"{name} did not get its turn within {timeout:.2f} s: {self._hint}"
                raise StoreUnavailableError(self._store, why) from None
            raise OutcomeUnknownError(self._store, name) from None
        except asyncio.CancelledError:
            call.leave()
            raise

    def close(self) -> None:
        """Let the thread end after the call that it is in."""
        self._queue.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most so many seconds: it may hang in the kernel."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            try:
                with self._busy:
                    result = call.work(call)
                call.settle(result, None)
                del result
            except _LeftBehindError:
                pass
            except BaseException as error:
                call.settle(None, error)
            del call  # or the last call's result would live until the next
        self._at_end()
