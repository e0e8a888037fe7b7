"""One connection to a server, made when it is needed and thrown away when in doubt; calls in order, each by a deadline.

A deadline is absolute: it holds over the wait for the turn, connecting and the work, and it does not depend on the
driver's library. When it has come, the socket is cut, the caller is told, and the next call has its turn on another
connection; what the library still does about the old one is waited for by nobody. Whose turn comes so late that hardly
an answer could come in time is not sent at all: in a crowd, one call after the other would cut the connection.

A driver has one link for sessions and beats, so that a long list never delays a beat; one for the rest; and, where
changes are pushed, one that stays with the server for them.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError, LocumError, OutcomeUnknownError, StoreUnavailableError
from locum.forks import part_at_forks, part_from, stay_at_forks
from locum.identity import Origin
from locum.scopes import Backoff, Scope
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.clock import Clock

__all__ = ["Connection", "Link", "part_transport", "unusable"]

_log = logger("stores.link")
_UNANSWERED: Final = "nobody answers there, or not in the way that the URL says"
_STEADY: Final = 5.0  # seconds after which a connection that is stayed on was a good one
_MAY_QUEUE: Final = 0.75  # of its time: what is sent too late for an answer costs everybody the connection
_GRACE: Final = 0.2  # seconds for what is left of the library's own tasks: their sockets are cut


class Connection(Protocol):
    """What a driver's library has to one server, as a link needs it."""

    @property
    def is_open(self) -> bool:
        """Whether, as far as is known here without asking, the server is still there."""

    def abort(self) -> None:
        """Cut the socket at once, without a farewell; does not wait, does not raise, may come twice."""

    def part(self) -> None:
        """Let the socket go in a forked child, so that nothing which happens there reaches the server."""


def unusable(store: str, why: str) -> ConfigurationError:
    """The error for a server that can never be worked with as it is."""
    return ConfigurationError(f"the store {store} cannot be used: {why}")


T = TypeVar("T")
C = TypeVar("C", bound=Connection)


def part_transport(transport: asyncio.BaseTransport) -> None:
    """Let a transport's socket go in a forked child."""
    found = transport.get_extra_info("socket")
    fd = -1 if found is None else found.fileno()
    if fd >= 0:
        part_from(fd)


class _Stage(enum.Enum):
    QUEUED = "it did not get its turn"
    CONNECTING = "there was no connection"
    SENT = "no answer came"


class _Call:
    """One call on its way: how far it has come, and the connection that it is on."""

    def __init__(self, name: str, *, changes: bool, outcome: asyncio.Future[Any], begins_until: int) -> None:
        self.name, self.changes, self.outcome, self.begins_until = name, changes, outcome, begins_until
        self.stage = _Stage.QUEUED
        self.is_over = False
        self.task: asyncio.Task[None] | None = None
        self.limit: asyncio.TimerHandle | None = None


class Link(Generic[C]):
    """One connection, calls in order.

    Args:
        store: The store's URL without secrets, for messages.
        connect: Makes a connection; it leaves nothing open behind if it fails or is cancelled.
        in_words: What a failure means that is none of our own errors. A sentence, if the connection is in doubt then,
            and with it whether the call happened; an error to raise, if the server refused the call and nothing
            happened.
        was_there: Whether this instance has worked with the store before: what was right once is never called wrong.
        clock: Measures the pauses between two tries to connect.
    """

    def __init__(
        self,
        store: str,
        *,
        connect: Callable[[], Awaitable[C]],
        in_words: Callable[[Exception], str | LocumError],
        was_there: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._store, self._connect, self._in_words, self._was_there = store, connect, in_words, was_there
        self._clock = clock
        self._origin = Origin(f"the open store {store}")
        self._scope = Scope(f"link to {store}", on_error=_log_failure)
        self._turn = asyncio.Lock()
        self._calls: dict[_Call, None] = {}
        self._connection: C | None = None
        self._backoff = Backoff(0.02, 0.5)
        self._not_before = 0
        self._why = _UNANSWERED
        self._is_closed = False
        part_at_forks(self)

    async def call(self, name: str, work: Callable[[C], Awaitable[T]], *, timeout: float, changes: bool) -> T:
        """Do something on the connection, within `timeout` seconds from now.

        A caller that is cancelled before anything was sent leaves nothing behind; what was sent goes on without it, by
        the same deadline.

        Args:
            name: The call, for messages.
            work: What is done; the errors that it raises itself, of our own, leave the connection as it is.
            timeout: Seconds.
            changes: Whether something is changed by it.

        Raises:
            StoreUnavailableError: It did not happen and never will; or it changes nothing.
            OutcomeUnknownError: It may have been sent, and no answer came.
            ForkedError: This is a forked child.
        """
        self._origin.check()
        self._demand_open()
        loop = asyncio.get_running_loop()
        begins_until = self._clock.now() + nanoseconds(_MAY_QUEUE * timeout)
        call = _Call(name, changes=changes, outcome=loop.create_future(), begins_until=begins_until)
        self._calls[call] = None
        call.limit = loop.call_later(timeout, self._end, call, f"within {timeout:.2f} s")
        call.task = self._scope.spawn(self._carry(call, work), name=name)
        try:
            result: T = await call.outcome
            return result
        finally:
            if call.stage is not _Stage.SENT:
                self._end(call, "before its caller was cancelled")

    async def stay(self, work: Callable[[C], Awaitable[object]], *, timeout: float) -> None:
        """Stay on the connection for ever, with a new one whenever that is needed; to be run as a task.

        Args:
            work: Begun anew on each connection; does not end by itself.
            timeout: Seconds that connecting may take.
        """
        self._origin.check()
        while True:
            begun = self._clock.now()
            try:
                async with asyncio.timeout(timeout):
                    self._connection = await self._make()
                await work(self._connection)
            except (LocumError, TimeoutError) as error:
                _log.debug("nothing is heard of %s: %s", self._store, error)
            except Exception as error:
                _log.debug("nothing is heard of %s: %s", self._store, self._in_words(error))
            finally:
                self._drop()
            if seconds(self._clock.now() - begun) > _STEADY:
                self._backoff.reset()
            self._pause()

    async def close(self) -> None:
        """Cut the connection; calls that still run end at once."""
        if self._is_closed or not self._origin.is_here:
            return
        self._is_closed = True
        stay_at_forks(self)
        for call in list(self._calls):
            self._end(call, "before the connection was closed")
        self._drop()
        await self._scope.close(timeout=_GRACE)

    def part(self) -> None:
        """Part from the parent, in a forked child."""
        if self._connection is not None:
            self._connection.part()

    # -- inside

    async def _carry(self, call: _Call, work: Callable[[C], Awaitable[Any]]) -> None:
        """A call's task; it may be late, and then it is over already."""
        try:
            await self._turn.acquire()
            if self._clock.now() > call.begins_until:
                self._end(call, "in time for an answer")
            if call.is_over:  # just now: the turn is the next one's
                self._turn.release()
                return
            call.stage = _Stage.CONNECTING
            connection = await self._ready(call)
            call.stage = _Stage.SENT
            result = await work(connection)
        except LocumError as error:
            self._settle(call, error=error)
        except Exception as error:
            self._fail(call, error)
        else:
            self._backoff.reset()
            self._settle(call, result=result)

    async def _ready(self, call: _Call) -> C:
        if self._connection is not None and not self._connection.is_open:
            self._drop()
        if self._connection is None:
            made = await self._make()
            if call.is_over:
                made.abort()
                raise StoreUnavailableError(self._store, "the connection came too late")
            self._connection = made
        return self._connection

    async def _make(self) -> C:
        await self._clock.sleep(seconds(self._not_before - self._clock.now()))
        try:
            made = await self._connect()
        except Exception as error:
            self._pause()
            told = self._judged(error if isinstance(error, LocumError) else self._in_words(error))
            if isinstance(told, str):
                told = StoreUnavailableError(self._store, told)
            self._why = str(getattr(told, "why", told))
            raise told from None
        self._why = _UNANSWERED
        return made

    def _pause(self) -> None:
        self._not_before = self._clock.now() + nanoseconds(self._backoff.delay())

    def _fail(self, call: _Call, error: Exception) -> None:
        told = self._judged(self._in_words(error))
        if isinstance(told, str):
            if not call.is_over:
                self._drop()
            told = self._in_doubt(call, told)
        self._settle(call, error=told)

    def _judged(self, told: str | LocumError) -> str | LocumError:
        """What was right once is only not available."""
        if isinstance(told, ConfigurationError) and self._was_there():
            return StoreUnavailableError(self._store, str(told).removeprefix(str(unusable(self._store, ""))))
        return told

    def _end(self, call: _Call, why: str) -> None:
        """End a call from outside, whatever its task is doing: its deadline has come, or the connection is closed."""
        if call.is_over:
            return
        why = f"{call.stage.value} {why}"
        if call.stage is _Stage.CONNECTING:
            why = f"{why}: {self._why}"
        if call.stage is _Stage.SENT:
            self._drop()
        self._settle(call, error=self._in_doubt(call, why))
        if call.task is not None:
            call.task.cancel()

    def _in_doubt(self, call: _Call, why: str) -> LocumError:
        if call.changes and call.stage is _Stage.SENT:
            return OutcomeUnknownError(self._store, call.name, why)
        return StoreUnavailableError(self._store, why)

    def _settle(self, call: _Call, *, result: object = None, error: LocumError | None = None) -> None:
        """Tell the outcome, and let the next call have its turn; only the first time counts."""
        if call.is_over:
            return
        call.is_over = True
        if call.limit is not None:
            call.limit.cancel()
        del self._calls[call]
        if call.stage is not _Stage.QUEUED:
            self._turn.release()
        if call.outcome.done():
            return  # nobody waits any more
        if error is not None:
            call.outcome.set_exception(error)
        else:
            call.outcome.set_result(result)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _demand_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(self._store, "this connection is not open")


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed: %s", task, error)
