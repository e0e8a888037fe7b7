"""Threads beside an event loop: one for plain functions, which the loop waits for; one for a loop of its own."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from locum.scopes import finish, post, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OwnThread", "apart", "loop_in_a_thread"]

T = TypeVar("T")


class OwnThread:
    """A thread that makes one call after another, each for a caller in an event loop.

    It is nobody else's: a call that never ends exhausts no pool, and holds up no interpreter's exit.

    Args:
        name: The thread's name, for whoever looks at stacks.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call[object] | None] = queue.SimpleQueue()
        self._is_started = False
        self.ident: int | None = None
        """The thread's number in this process, once it runs."""

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread, in a copy of the caller's context, and wait for its end.

        A thread cannot be cancelled. So a cancellation is delivered only once the call has ended: whoever forgot the
        thread would take its work for ended while it goes on (R19).

        Raises:
            BaseException: What the function raised, also if the caller was cancelled meanwhile.
        """
        call = _Call(function)
        if not self._is_started:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._is_started = True
        self._calls.put(call)  # type: ignore[arg-type]
        try:
            await finish(call.outcome)
        except asyncio.CancelledError:
            call.outcome.result()
            raise
        return call.outcome.result()

    def close(self) -> None:
        """Let the thread end after the call that it is in."""
        self._calls.put(None)

    def _run(self) -> None:
        self.ident = threading.get_ident()
        while (call := self._calls.get()) is not None:
            call.make()
            del call  # or what it refers to would live until the next


async def apart(name: str, function: Callable[[], T]) -> T:
    """Call one function in a thread of its own: such as loads a large library, while the loop goes on turning."""
    thread = OwnThread(name)
    try:
        return await thread.call(function)
    finally:
        thread.close()


class _Call(Generic[T]):
    """One call on its way to the thread and back."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function, self._context = function, contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self._loop.create_future()

    def make(self) -> None:
        """Make it, in the thread; whatever it raises is its caller's to judge."""
        try:
            result = self._context.run(self._function)
        except StopIteration as error:  # a future takes none, as a coroutine takes none
            wrong = RuntimeError("a plain function raised StopIteration")
            wrong.__cause__ = error
            self._fail(wrong)
        except BaseException as error:
            self._fail(error)
        else:
            post(self._loop, lambda: self.outcome.set_result(result))

    def _fail(self, error: BaseException) -> None:
        post(self._loop, lambda: self.outcome.set_exception(error))


@contextmanager
def loop_in_a_thread(name: str) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that turns in a thread of its own for the length of the block."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=run, args=(stop.wait(),), kwargs={"loop": loop}, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        post(loop, stop.set)
        thread.join()
