"""The way into the coordinator"s event loop, for code that blocks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from locum.identity import Origin
from locum.scopes import run_in

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager


__all__ = ["Portal", "entered"]

T = TypeVar("T")


class Portal:
    """The way into the coordinator's loop; a forked child has no such loop, and would wait for it for ever (R30)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._origin = loop, Origin("the coordinator")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done in that loop, and wait for it."""
        if not self._origin.is_here:
            work.close()
        self._origin.check()
        return run_in(self._loop, work)

    def each(self, states: AsyncIterator[T]) -> Iterator[T]:
        """What an asynchronous generator yields, for a plain `for`."""
        try:
            while True:
                yield self.run(anext(states))  # type: ignore[arg-type]
        finally:
            self.run(states.aclose())  # type: ignore[attr-defined]


@contextmanager
def entered(manager: AbstractAsyncContextManager[T], run: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[T]:
    """An asynchronous context for a plain `with`, whose every step is run by `run`."""
    value = run(manager.__aenter__())
    try:
        yield value
    except BaseException as error:
        if not run(manager.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        run(manager.__aexit__(None, None, None))
