"""What a body written as `def` is given, and what is held: each reads its handle, or waits for its coroutines."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from locum.blocking.portal import entered
from locum.coordination.fence import fence_of
from locum.errors import UnsupportedError
from locum.scopes import own_loop, run_in

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from datetime import datetime

    from locum import context
    from locum.coordination import hold, lock, term


__all__ = ["Context", "Held", "Hold", "Share", "Standby", "Stopping", "Term"]

P = ParamSpec("P")
T = TypeVar("T")


class Context:
    """The circumstances of one run of a plain body.

    Its calls wait, so they are refused (`RuntimeError`) in a thread whose event loop runs. The properties may be read
    anywhere.
    """

    def __init__(self, handle: context.Context) -> None:
        self._handle = handle

    @property
    def name(self) -> str:
        """Whose body it is."""
        return self._handle.name

    @property
    def log(self) -> logging.Logger:
        """A logger for the body."""
        return self._handle.log

    @property
    def stopping(self) -> bool:
        """Whether the body has been asked to end."""
        return self._handle.stopping

    @property
    def deadline(self) -> float | None:
        """Seconds left until the body is ended by force; `None` as long as it has not been asked to end."""
        return self._handle.deadline

    def ready(self) -> None:
        """Say that the body does what it is there for."""
        self._handle.ready()

    def beat(self) -> None:
        """Say that the body goes on, for whoever watches its health; `every` and `sleep` say it by themselves."""
        self._handle.beat()

    def sleep(self, duration: float) -> None:
        """Pause for some seconds, or until the body is asked to end."""
        self._wait_for(self._handle.sleep, duration)

    def every(self, interval: float) -> Iterator[int]:
        """Repeat at once and then every `interval` seconds, without drift, until the body is asked to end.

        Yields:
            The number of the turn, from 0; missed ones are skipped.
        """
        turns = self._handle.every(interval)
        while (turn := self._wait_for(_next, turns)) is not None:
            yield turn

    def _wait_for(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = self._handle.loop  # asked before there is anything to be awaited: it may refuse
        return run_in(loop, call(*args, **kwargs))


class Stopping(Context):
    """What the plain body of a service that runs everywhere is given."""


class Standby(Context):
    """What a plain passive body is given: it ends when the instance becomes active, or stops."""


class Hold(Context):
    """One uninterrupted time of having something, as plain code sees it."""

    _handle: hold.Hold

    @property
    def scope(self) -> str:
        """The name under which it is coordinated."""
        return self._handle.scope

    @property
    def instance(self) -> str:
        """The instance that holds it."""
        return self._handle.instance

    @property
    def since(self) -> datetime:
        """When it began, for people."""
        return self._handle.since

    @property
    def is_current(self) -> bool:
        """Whether the work may go on at this very moment: a memory read, no I/O. Once `False`, never `True` again."""
        return self._handle.is_current

    @property
    def remaining(self) -> float:
        """Seconds for which it is certain, if no further beat is answered; 0 if it is over."""
        return self._handle.remaining

    @property
    def ended(self) -> str | None:
        """Why it is over, in words that follow the instance's name; `None` while it is not."""
        return self._handle.ended

    def check(self) -> None:
        """Raise `HoldEndedError` if it is over; no I/O."""
        self._handle.check()

    def _wait_for(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        outcome = super()._wait_for(call, *args, **kwargs)
        if self._handle.is_lost:
            self.check()  # the cancellation of those who cannot be cancelled
        return outcome


class Share(Hold):
    """A read or a permit, as plain code sees it."""

    def __init__(self, handle: hold.Share) -> None:
        super().__init__(handle)


class Term(Hold):
    """One uninterrupted time of being active, as a plain body sees it.

    Promises: no two terms of one scope share a token, and tokens only grow.
    Assumes: the writes that matter carry the token (`transaction`, `fence`), and an old one is refused.
    On loss: `sleep`, `every` and whatever checks raise `TermEndedError`, and the body is to let it through; what
    ignores that is ended with its process before anyone else may start. At a planned end `sleep` and `every` return.
    """

    _handle: term.Term

    def __init__(self, handle: term.Term) -> None:
        super().__init__(handle)

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._handle.token

    @contextmanager
    def transaction(self, target: Any) -> Iterator[Any]:
        """A fenced transaction: begun, its token checked, committed at the end, rolled back on an error.

        Everything is done in the calling thread, on the connection that belongs to it.

        Args:
            target: A connection of sqlite3, psycopg or PyMySQL, a plain SQLAlchemy engine or connection, or an object
                that has one as its `engine` or `connection`.

        Yields:
            The connection to work with.

        Raises:
            TermEndedError: The term is over; nothing was begun.
            StaleTermError: A later term has raised the fence; nothing was written.
            UnsupportedError: It belongs to an event loop.
        """
        _refuse_async(target)
        with own_loop() as run, entered(self._handle.transaction(target), run) as connection:
            yield connection

    def fence(self, connection: Any) -> None:
        """Check the token inside the transaction that is open on the user's connection.

        Raises:
            TermEndedError: The term is over.
            StaleTermError: A later term has raised the fence: roll back.
            UnsupportedError: The connection belongs to an event loop.
        """
        _refuse_async(connection)
        with own_loop() as run:
            run(self._handle.fence(connection))


class Held(Term):
    """A lock that is held, as plain code sees it: a term, and the value that goes with the lock."""

    _handle: lock.Held

    def __init__(self, handle: lock.Held) -> None:
        super().__init__(handle)

    @property
    def value(self) -> bytes | None:
        """The value as this holder found it or last set it; `None` if there is none. No I/O."""
        return self._handle.value

    def set(self, value: bytes | None) -> None:
        """Change the value that goes with the lock; see `locum.coordination.lock.Held.set`.

        Raises:
            TermEndedError: The hold is over; nothing was changed, or the session ended before the answer came.
            StaleTermError: A later holder has the lock; nothing was changed.
        """
        self._wait_for(self._handle.set, value)


async def _next(turns: AsyncIterator[int]) -> int | None:
    return await anext(turns, None)


def _refuse_async(target: Any) -> None:
    if fence_of(target).is_async:
        raise UnsupportedError(
            f"a plain def cannot use {type(target).__name__}, which belongs to an event loop: give a plain"
            " connection (sqlite3, psycopg, PyMySQL) or SQLAlchemy engine, or write async def"
        )
