"""What a body of work is given: how to pause, how to repeat, and how it learns that it shall end."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.clock import nanoseconds, seconds
from locum.identity import Origin
from locum.scopes import happens, post
from locum.telemetry import logger

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator, Callable, Iterator

    from locum.clock import Clock

__all__ = ["Context", "current_context", "under"]

_SLEEPS_OF_A_LISTENER: Final = 10  # after it was asked; one more turn of a loop may have a few


class Context:
    """The circumstances of one run of a body; they mean nothing in a forked child, and say so (`ForkedError`).

    It is made in the event loop, and lives there; what is no coroutine may be asked from any thread.

    Args:
        name: Whose body it is.
        clock: Measures pauses.
    """

    facade: ClassVar[Callable[[Any], object] | None] = None
    """What a plain body is given in its place, where that is told by no room below this one."""

    def __init__(self, name: str, *, clock: Clock) -> None:
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._origin = Origin(f"what {name} was given")
        self._stopping = asyncio.Event()
        self._on_ready: Callable[[], object] | None = None
        self._deadline: int | None = None
        self._beaten_at = clock.now()
        self._listens = False
        self._sleeps_since_asked = 0
        self._on_going_on: Callable[[], object] | None = None

    @property
    def log(self) -> logging.Logger:
        """A logger for the body."""
        # made when it is asked for: loggers live as long as the process, and a name may be one of a million locks
        return logger(f"service.{self.name}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it was made in."""
        self._origin.check()
        return self._loop

    @property
    def stopping(self) -> bool:
        """Whether the body has been asked to end.

        Whoever has read it, or pauses by `sleep` or `every`, is given time to end by itself before it is cancelled.
        """
        self._origin.check()
        self._listens = True
        return self._stopping.is_set()

    @property
    def deadline(self) -> float | None:
        """Seconds left until the body is ended by force; `None` as long as it has not been asked to end."""
        self._origin.check()
        return None if self._deadline is None else max(0.0, seconds(self._deadline - self._clock.now()))

    def ready(self) -> None:
        """Say that the body does what it is there for: what comes `after` it waits for that, if it `says_ready`."""
        self._origin.check()
        post(self._loop, self._become_ready)

    def beat(self) -> None:
        """Say that the body goes on, for whoever watches its health; `every` and `sleep` say it by themselves."""
        self._beaten_at = self._clock.now()

    async def sleep(self, duration: float) -> None:
        """Pause for some seconds, or until the body is asked to end."""
        self._origin.check()
        self._listens = True
        self.beat()
        if self._stopping.is_set():
            self._sleeps_since_asked += 1
            if self._sleeps_since_asked == _SLEEPS_OF_A_LISTENER and self._on_going_on is not None:
                self._on_going_on()
            await asyncio.sleep(0)  # who goes on although it was asked must not keep the loop from turning
            return
        await happens(self._stopping.wait(), within=max(0.0, duration))

    async def every(self, interval: float) -> AsyncIterator[int]:
        """Repeat at once and then every `interval` seconds, without drift, until the body is asked to end.

        A turn that takes longer than the interval is followed by the next one at once; turns that were missed are
        skipped.

        Yields:
            The number of the turn, from 0.
        """
        step = nanoseconds(interval)
        begun, turn = self._clock.now(), 0
        while not self.stopping:
            self.beat()
            yield turn
            elapsed = self._clock.now() - begun
            turn = max(turn + 1, elapsed // step) if step else turn + 1
            await self.sleep(seconds(begun + turn * step - self._clock.now()))

    # -- for those who run the body

    @property
    def listens(self) -> bool:
        """Whether the body has ever looked whether it shall end; otherwise it cannot know that it was asked."""
        return self._listens

    @property
    def is_asked(self) -> bool:
        """Whether it has been asked to end; unlike `stopping` this says nothing about the body."""
        return self._stopping.is_set()

    def when_going_on(self, callback: Callable[[], object]) -> None:
        """Call this when the body pauses again and again although it was asked to end: it does not listen after all."""
        self._on_going_on = callback

    def when_ready(self, callback: Callable[[], object]) -> None:
        """Call this when the body says that it is ready."""
        self._on_ready = callback

    async def asked(self) -> None:
        """Wait until the body is asked to end."""
        await self._stopping.wait()

    @property
    def beaten_at(self) -> int:
        """When the body last said that it goes on (the clock's ns)."""
        return self._beaten_at

    def ask_to_stop(self, *, within: float) -> None:
        """Ask the body to end.

        Args:
            within: Seconds after which it is ended by force.
        """
        if self._deadline is None:
            self._deadline = self._clock.now() + nanoseconds(within)
        post(self._loop, self._stopping.set)

    def _become_ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()


_current: Final[ContextVar[Context | None]] = ContextVar("locum_context", default=None)


def current_context() -> Context | None:
    """What the body that runs here was given, in its tasks and its thread too; `None` outside of any body."""
    return _current.get()


@contextmanager
def under(context: Context | None) -> Iterator[None]:
    """A body that was given this runs in the block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
