"""The pieces that asyncio lacks: tasks that end with their owner, cancel-and-wait, run-until, backoff.

Every task of Locum is made here, so that none outlives its owner and no outcome is lost unseen.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
    from types import TracebackType

__all__ = [
    "Backoff",
    "Scope",
    "all_of",
    "both",
    "cancel_and_wait",
    "finish",
    "happens",
    "own_loop",
    "post",
    "run",
    "run_in",
    "told_by_result",
]

T = TypeVar("T")
U = TypeVar("U")


class Scope:
    """A set of tasks that end with their owner.

    A task that fails is told to `on_error` at once; without that, its error is raised when the scope is closed.

    Args:
        name: Whose tasks these are, for messages.
        on_error: Called with the task's name and its error.
    """

    def __init__(self, name: str, *, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        self.name = name
        self._on_error = on_error
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in order: what is cancelled first must not be chance
        self._errors: list[Exception] = []
        self._closed = False
        self._pid = os.getpid()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is started any more."""
        return self._closed

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task that ends at the latest with this scope."""
        if self._closed:
            work.close()
            raise RuntimeError(f"the scope {self.name} is closed: {name} was not started")
        try:
            task = asyncio.get_running_loop().create_task(work, name=f"{self.name}: {name}")
        except RuntimeError:  # no loop runs: what asks for this is being finalized
            work.close()
            raise
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Let a task that will not end outlive this scope: its process goes on, and whoever waited has been told."""
        self._tasks.pop(task, None)
        task.remove_done_callback(self._ended)

    async def close(self, *, timeout: float | None = None) -> None:
        """Cancel what still runs, wait for its end, and raise the errors that nobody was told of.

        Args:
            timeout: Seconds that each may take; what does not end in them is forgotten. `None` waits for ever.
        """
        self._closed = True
        if os.getpid() != self._pid:
            return  # a forked child: these are copies of tasks with which its parent goes on
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        for task in tasks:
            try:
                has_ended = await finish(task, timeout=timeout)
            except asyncio.CancelledError as error:
                cancelled = error  # none may outlive its owner: the others are waited for first
                has_ended = task.done()
            if not has_ended:
                self.forget(task)
            elif task in self._tasks:  # it has just ended, and its end is not told yet
                task.remove_done_callback(self._ended)
                self._ended(task)
        if cancelled is not None:
            raise cancelled
        errors, self._errors = self._errors, []
        if errors:
            raise ExceptionGroup(f"tasks of {self.name} failed", errors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if self._on_error is not None:
            self._on_error(task.get_name(), error)
        elif isinstance(error, Exception):
            self._errors.append(error)


async def cancel_and_wait(task: asyncio.Task[Any], *, timeout: float | None = None) -> bool:
    """Cancel a task and wait until it has ended; its outcome stays with the task.

    A cancellation of the caller is not swallowed: it is delivered once the task has ended (or the time is up).

    Args:
        task: What to end.
        timeout: Seconds to wait; `None` waits for ever.

    Returns:
        Whether the task has ended.
    """
    if not task.done():
        task.cancel()
        await finish(task, timeout=timeout)
    return task.done()


async def finish(task: asyncio.Future[Any], *, timeout: float | None = None) -> bool:
    """Wait until a task is done, whatever its outcome, even if the caller is cancelled meanwhile.

    Returns:
        Whether the task is done.
    """
    cancelled: asyncio.CancelledError | None = None
    try:
        async with asyncio.timeout(timeout) as limit:
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as error:
                    if limit.expired():
                        raise
                    cancelled = error
    except TimeoutError:
        pass
    if cancelled is not None:
        raise cancelled
    return task.done()


async def both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Two things side by side; where one fails the other one is cancelled, and the first failure raised."""
    loop = asyncio.get_running_loop()
    first, second = loop.create_task(one), loop.create_task(other)
    await _side_by_side([first, second])
    return first.result(), second.result()


async def all_of(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Any number of things side by side; where one fails the others are cancelled, and the first failure raised."""
    loop = asyncio.get_running_loop()
    await _side_by_side([loop.create_task(work) for work in works])


async def _side_by_side(tasks: Sequence[asyncio.Task[Any]]) -> None:
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            await cancel_and_wait(task)
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]  # all are seen
    for error in errors:
        if error is not None:
            raise error


async def happens(awaitable: Awaitable[object], *, within: float | None) -> bool:
    """Wait for something, at most for so many seconds.

    Returns:
        Whether it happened; `False` if the time was up first (it is cancelled then).
    """
    try:
        async with asyncio.timeout(within):
            await awaitable
    except TimeoutError:
        return False
    return True


def told_by_result(task: str, error: BaseException) -> None:
    """An `on_error` of scopes of which each task has somebody who waits for it, and so learns of its error."""


def run(work: Coroutine[Any, Any, T], *, loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Run a program's (or a thread's) main coroutine in an event loop of its own.

    Args:
        work: What to run.
        loop: A new event loop, if others must know it before it runs; it is closed at the end.
    """
    with asyncio.Runner(loop_factory=None if loop is None else lambda: loop) as runner:
        return runner.run(work)


def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of another thread, and wait for its outcome.

    Raises:
        RuntimeError: This thread's own event loop runs: it would be held up, and might wait for itself.
    """
    try:
        _refuse_in_a_loop()
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise
    try:
        return future.result()
    except BaseException:
        future.cancel()  # nobody waits any more, if it was we who were interrupted
        raise


@contextmanager
def own_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """An event loop of this thread's own, for what must happen in this very thread: yields what runs a coroutine.

    Raises:
        RuntimeError: This thread's own event loop runs already: it would be held up.
    """
    _refuse_in_a_loop()
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        yield runner.run


def post(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call something in an event loop: at once if we are there, as its next thing if we are in another thread."""
    if _running_here() is loop:
        callback()
        return
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the loop is closed: nobody is left whom it would concern


def _refuse_in_a_loop() -> None:
    if _running_here() is not None:
        raise RuntimeError(
            "a blocking call was made in a thread whose event loop runs: it would hold that up, and wait for itself for"
            " ever if it is Locum's; make it in a plain function's own thread, or write async def"
        )


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Backoff:
    """Delays that double from `initial` to `maximum` seconds, with full jitter over their upper half.

    The jitter keeps the instances from coming back all at once after they failed all at once.
    """

    def __init__(self, initial: float, maximum: float) -> None:
        self.initial, self.maximum = initial, maximum
        self._next = initial

    def delay(self) -> float:
        """The next delay in seconds."""
        base, self._next = self._next, min(self._next * 2, self.maximum)
        return base * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self._next = self.initial
