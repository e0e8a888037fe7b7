"""The same for plain functions: what a body written as `def` is given, and a coordinator for scripts that block.

Each facade stands before the handle of the same name and has no logic of its own. It reads the handle's memory, or runs
the handle's coroutine and waits for it: in the event loop, or in the body's own thread where a connection of the user's
is touched. Waiting ends when the body is asked to end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from locum.coordination.fence import fence_of
from locum.errors import UnsupportedError
from locum.identity import Origin
from locum.scopes import own_loop, run_in
from locum.threads import loop_in_a_thread

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from locum import context
    from locum.coordination import coordinator, election, term

__all__ = ["Context", "Coordinator", "Election", "Standby", "Stopping", "Term", "connect"]

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


class Term(Context):
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
        """Seconds for which the term is certain, if no further beat is answered; 0 if it is over."""
        return self._handle.remaining

    @property
    def ended(self) -> str | None:
        """Why the term is over, in words that follow the instance's name; `None` while it is not."""
        return self._handle.ended

    def check(self) -> None:
        """Raise `TermEndedError` if the term is over; no I/O."""
        self._handle.check()

    @contextmanager
    def transaction(self, target: Any) -> Iterator[Any]:
        """A fenced transaction: begun, its token checked, committed at the end, rolled back on an error.

        Everything is done in the calling thread, on the connection that belongs to it.

        Args:
            target: A sqlite3 connection, a plain SQLAlchemy engine or connection, or an object that has one as its
                `engine` or `connection`.

        Yields:
            The connection to work with.

        Raises:
            TermEndedError: The term is over; nothing was begun.
            StaleTermError: A later term has raised the fence; nothing was written.
            UnsupportedError: It belongs to an event loop.
        """
        _refuse_async(target)
        with own_loop() as run, _entered(self._handle.transaction(target), run) as connection:
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

    def _wait_for(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        outcome = super()._wait_for(call, *args, **kwargs)
        if self._handle.is_lost:
            self.check()  # the cancellation of those who cannot be cancelled
        return outcome


class Election:
    """One leader per name, for code that blocks.

    Promises: no two terms share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: nobody can cancel a thread; `sleep`, `every`, `check` and `transaction` of the term raise `TermEndedError`.
    """

    def __init__(self, handle: election.Election, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def name(self) -> str:
        """The name of the election."""
        return self._handle.name

    @contextmanager
    def lead(self, *, timeout: float | None = None, stop_timeout: float = 30.0) -> Iterator[Term]:
        """Wait for the lead and hold it for the length of the block.

        If somebody asks for its end, `stopping` is set and the term's pauses return: leave the block then.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
        """
        leading = self._handle.lead(timeout=timeout, stop_timeout=stop_timeout)
        with _entered(leading, self._portal.run) as handle:
            yield Term(handle)


class Coordinator:
    """Takes part in elections under one instance's session, for code that blocks; it comes from `connect`."""

    def __init__(self, handle: coordinator.Coordinator, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def one_machine(self) -> bool:
        """Whether all instances must live on this machine."""
        return self._handle.one_machine

    def election(self, name: str) -> Election:
        """The election of that name."""
        return Election(self._handle.election(name), self._portal)


@contextmanager
def connect(
    url: str,
    *,
    namespace: str = "default",
    ttl: float = 6.0,
    instance: str | None = None,
    enforcement: str = "cancel",
    hang_timeout: float = 30.0,
    timeout: float | None = 30.0,
) -> Iterator[Coordinator]:
    """A coordinator for code that blocks, kept in threads of its own for the length of the block.

    The arguments and the errors are those of `locum.Coordinator.connect`.
    """
    from locum.coordination.coordinator import Coordinator as AsyncCoordinator  # whoever has a host needs none of it

    connecting = AsyncCoordinator.connect(
        url,
        namespace=namespace,
        ttl=ttl,
        instance=instance,
        enforcement=enforcement,
        hang_timeout=hang_timeout,
        timeout=timeout,
    )
    with loop_in_a_thread("locum-coordinator") as loop:
        portal = _Portal(loop)
        with _entered(connecting, portal.run) as handle:
            yield Coordinator(handle, portal)


class _Portal:
    """The way into the coordinator's loop; a forked child has no such loop, and would wait for it for ever (R30)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._origin = loop, Origin("the coordinator")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._origin.is_here:
            work.close()
        self._origin.check()
        return run_in(self._loop, work)


async def _next(turns: AsyncIterator[int]) -> int | None:
    return await anext(turns, None)


def _refuse_async(target: Any) -> None:
    if fence_of(target).is_async:
        raise UnsupportedError(
            f"a plain def cannot use {type(target).__name__}, which belongs to an event loop: give a sqlite3 connection"
            " or a plain SQLAlchemy engine, or write async def"
        )


@contextmanager
def _entered(manager: AbstractAsyncContextManager[T], run: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[T]:
    """An asynchronous context for a plain `with`, whose every step is run by `run`."""
    value = run(manager.__aenter__())
    try:
        yield value
    except BaseException as error:
        if not run(manager.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        run(manager.__aexit__(None, None, None))
