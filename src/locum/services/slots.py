"""Places in which the parts of one body go side by side, each in a run of its own; the first error is the body's."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from locum.scopes import Scope, told_by_result
from locum.services.bodies import contained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    from locum.service import Surroundings

    Call = Callable[..., Awaitable[object]]

__all__ = ["Slots"]

T = TypeVar("T")


class Slots:
    """Places for parts of a body.

    A place has its own run in the host: collaborators with the lifetime `run`, and the thread of a plain function, are
    never shared by two parts that go at the same time.

    Args:
        name: The service's name.
        most: How many parts may go at once.
        surroundings: Its host.
    """

    def __init__(self, name: str, most: int, *, surroundings: Surroundings) -> None:
        self._name, self._surroundings = name, surroundings
        self._scope = Scope(name, on_error=told_by_result)
        self._stack = AsyncExitStack()
        self._unopened = most
        self._free: list[Call] = []
        self._tasks: dict[asyncio.Task[object], Call] = {}
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._scope.close()  # what still goes is cancelled and awaited
        finally:
            await self._stack.aclose()

    @property
    def are_full(self) -> bool:
        """Whether another part would have to wait."""
        return not (self._free or self._unopened)

    async def begin(self, part: Callable[[Call], Coroutine[Any, Any, None]]) -> None:
        """Begin a part, as soon as there is a place for it.

        Args:
            part: What it does, given what calls the user's functions in its place.

        Raises:
            BaseException: What another part has failed with.
        """
        await self.room()
        if not self._free:
            self._unopened -= 1
            self._free.append(await self._stack.enter_async_context(self._surroundings.one_run()))
        call = self._free.pop()
        self._tasks[self._scope.spawn(contained(part(call)), name="worker")] = call

    async def room(self) -> None:
        """Wait until there is a place for another part.

        Raises:
            BaseException: What a part has failed with.
        """
        while self.are_full:
            await self._one_ended()
        self._check()

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something beside them; it is cancelled if a part fails.

        Raises:
            BaseException: What a part has failed with.
        """
        task = self._scope.spawn(work, name="beside the workers")
        while not task.done():
            await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            if self._collect_ended() and self._error is not None:
                task.cancel()
                await asyncio.wait([task])
        self._check()
        return task.result()

    async def all_ended(self) -> None:
        """Wait until no part goes any more.

        Raises:
            BaseException: What one of them has failed with.
        """
        while self._tasks:
            await self._one_ended()
        self._check()

    async def _one_ended(self) -> None:
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._collect_ended()

    def _collect_ended(self) -> bool:
        ended = [task for task in self._tasks if task.done()]
        for task in ended:
            self._free.append(self._tasks.pop(task))
            outcome = None if task.cancelled() else task.result()
            if isinstance(outcome, BaseException):
                self._error = self._error or outcome
        return bool(ended)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
