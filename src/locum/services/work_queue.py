"""A bounded queue of work that a host does beside its other services."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from locum.context import current_context
from locum.errors import ConfigurationError, WorkQueueClosedError, WorkQueueFullError
from locum.scopes import Scope, post, run_in, told_by_result
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["WorkQueue"]

_log = logger("services.work_queue")
T = TypeVar("T")


class WorkQueue(Generic[T]):
    """Work items that wait in this process's memory until a worker has time for them.

    Promises: no more than `size` wait; at the host's stop nothing more is taken in, and what waits is done, as far as
    the service's `stop_timeout` allows. What fails, or is left, is told of in the log.
    Assumes: whoever puts items in comes `after` the queue, so that it has stopped when the queue is drained. What must
    survive the process belongs into a store or a broker.

    Args:
        name: The name of the service that does the work.
        size: How many items may wait.
    """

    def __init__(self, name: str, size: int) -> None:
        if size < 1:
            raise ConfigurationError(f"{name}: size={size!r}: at least one item must be able to wait")
        self.name, self.size = name, size
        self._items: deque[T] = deque()
        self._taking_in = threading.Lock()  # threads put in too; only the loop takes out
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    async def put(self, item: T) -> None:
        """Have an item done; waits while the queue is full.

        Raises:
            WorkQueueClosedError: The host stops: nothing more is taken in.
        """
        while not self.try_put(item):
            await self._changed.wait()

    def put_blocking(self, item: T, *, timeout: float | None = None) -> None:
        """Have an item done, from a plain function in a thread; waits while the queue is full.

        A plain body of the host waits no longer than until it is asked to end itself; what there is room for is taken
        in then too.

        Args:
            item: The item.
            timeout: Seconds to wait; `None` waits for ever.

        Raises:
            WorkQueueFullError: There was no room for it in time.
            WorkQueueClosedError: The host stops: nothing more is taken in.
            RuntimeError: The queue is full and its host does not run yet; or this thread's own event loop runs.
        """
        if self.try_put(item):
            return
        if self._loop is None:
            raise RuntimeError(f"{self.name} is full, and its host does not run yet: nobody would make room")
        run_in(self._loop, self._put_in_time(item, timeout))

    def try_put(self, item: T) -> bool:
        """Have an item done, if there is room for it at once; whether there is. From any thread.

        Raises:
            WorkQueueClosedError: The host stops: nothing more is taken in.
        """
        with self._taking_in:
            if self._is_closed:
                raise WorkQueueClosedError(self.name)
            if len(self._items) >= self.size:
                return False
            self._items.append(item)
        self._wake()
        return True

    # -- as the source of its own consumer

    def open(self) -> None:
        """Its host starts, in the event loop that runs here."""
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[T]:
        """The items."""
        return self

    async def __anext__(self) -> T:
        """The next item; none once it is finished and empty."""
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            await self._changed.wait()
        item = self._items.popleft()
        self._wake()
        return item

    async def ack(self, item: T) -> None:
        """It was done."""

    async def nack(self, item: T) -> None:
        """It was not done, and there is nobody who could bring it again."""
        _log.error("%s: an item was not done, and is gone: %r", self.name, item)

    def finish(self) -> None:
        """Take nothing more in; what waits is still given out."""
        with self._taking_in:
            self._is_closed = True
        self._wake()

    async def __aenter__(self) -> Self:
        """A run begins, of the first life or a later one."""
        self._is_closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        """A run has ended; if the host stops, what still waits is gone."""
        if self._is_closed and self._items:
            _log.error("%s: %d items were not done in time, and are gone", self.name, len(self))

    async def _put_in_time(self, item: T, timeout: float | None) -> None:
        caller = current_context()
        async with Scope(self.name, on_error=told_by_result) as scope:
            putting = scope.spawn(self.put(item), name="room")
            asked = [] if caller is None else [scope.spawn(caller.asked(), name="asked to end")]
            await asyncio.wait([putting, *asked], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                why = "before its caller was asked to end" if any(one.done() for one in asked) else None
                raise WorkQueueFullError(self.name, self.size, why or f"within {timeout:g} s")
            putting.result()

    def _wake(self) -> None:
        if self._loop is None:
            self._exchange()
        else:
            post(self._loop, self._exchange)

    def _exchange(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
