"""A bounded queue of work that a host does beside its other services."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from locum.errors import ConfigurationError, WorkQueueClosedError
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
        self._items: asyncio.Queue[T] = asyncio.Queue(size)
        self._changed = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        """How many items wait."""
        return self._items.qsize()

    async def put(self, item: T) -> None:
        """Have an item done; waits while the queue is full.

        Raises:
            WorkQueueClosedError: The host stops: nothing more is taken in.
        """
        while not self.try_put(item):
            await self._changed.wait()

    def try_put(self, item: T) -> bool:
        """Have an item done, if there is room for it at once; whether there is.

        Raises:
            WorkQueueClosedError: The host stops: nothing more is taken in.
        """
        if self._is_closed:
            raise WorkQueueClosedError(self.name)
        if self._items.full():
            return False
        self._items.put_nowait(item)
        self._wake()
        return True

    # -- as the source of its own consumer

    def __aiter__(self) -> AsyncIterator[T]:
        """The items."""
        return self

    async def __anext__(self) -> T:
        """The next item; none once it is finished and empty."""
        while self._items.empty():
            if self._is_closed:
                raise StopAsyncIteration
            await self._changed.wait()
        item = self._items.get_nowait()
        self._wake()
        return item

    async def ack(self, item: T) -> None:
        """It was done."""

    async def nack(self, item: T) -> None:
        """It was not done, and there is nobody who could bring it again."""
        _log.error("%s: an item was not done, and is gone: %r", self.name, item)

    def finish(self) -> None:
        """Take nothing more in; what waits is still given out."""
        self._is_closed = True
        self._wake()

    async def __aenter__(self) -> Self:
        """A run begins, of the first life or a later one."""
        self._is_closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        """A run has ended; if the host stops, what still waits is gone."""
        if self._is_closed and not self._items.empty():
            _log.error("%s: %d items were not done in time, and are gone", self.name, len(self))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
