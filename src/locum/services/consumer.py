"""Services that handle what comes from a source, some of it at a time, and say what they have done with it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable  # in signatures that are read when the program runs
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar, runtime_checkable

from locum.context import Context
from locum.errors import ConfigurationError, TermEndedError
from locum.scopes import Backoff, Scope, finish, told_by_result
from locum.service import ServiceHooks
from locum.services.slots import Slots
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.service import Surroundings

__all__ = ["Consumer", "ConsumerService", "Delivery", "Source", "check_workers", "open_given"]

_log = logger("services.consumer")
_BEAT_EVERY: Final = 1.0  # s
T = TypeVar("T")


@runtime_checkable
class Source(Protocol[T]):
    """Where messages come from: an asynchronous iterator that is told what became of each.

    A source whose messages have `ack` and `nack` themselves needs none of its own.
    """

    def __aiter__(self) -> AsyncIterator[T]:
        """The messages; the iterator ends when there will be no more."""

    async def ack(self, message: T) -> None:
        """The message was handled: it never comes again."""

    async def nack(self, message: T) -> None:
        """The message was not handled: it is to come again, here or elsewhere."""


class ConsumerService(ServiceHooks):
    """Handles what comes from a source: on every instance, or on the active one (`active_passive=True` in `add`).

    Attributes:
        workers: How many messages are handled at once; no more than that are taken from the source.
    """

    workers: ClassVar[int] = 1

    def source(self) -> Any:
        """A source (`Source`), anew for each run; one that is a context manager is entered, and left at the end."""
        raise NotImplementedError(f"{type(self).__name__} must say where messages come from: override source(self)")

    def handle(self, message: Any, context: Any) -> Awaitable[None] | None:
        """Handle one message. A return acks it; an error gives it back.

        Args:
            message: What came.
            context: A `Stopping`, or the `Term` under which this instance is active; those of `locum.blocking`, in a
                thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must handle messages: override handle(self, message, context)"
        )


class Delivery:
    """A message on its way to a handler, whose first parameter it is."""

    def __init__(self, message: Any) -> None:
        self.message = message

    @staticmethod
    def taken_by(handler: Callable[..., Any], hints: dict[str, Any]) -> Callable[..., Any]:
        """A handler, as a body that is given a delivery in place of the message.

        Args:
            handler: The user's function.
            hints: The types of its parameters.
        """
        first, rest = _parameters(handler)

        async def take(**arguments: Any) -> Any:
            return await handler(arguments.pop(first).message, **arguments)

        def take_plain(**arguments: Any) -> Any:
            return handler(arguments.pop(first).message, **arguments)

        function = take if inspect.iscoroutinefunction(handler) else take_plain
        return _signed(function, handler, [first, *rest], {**hints, first: Delivery})

    @staticmethod
    def asked_by(handler: Callable[..., Any], hints: dict[str, Any]) -> Callable[..., Any]:
        """A function that asks for what a handler asks for beside the message; it is never called."""
        _, rest = _parameters(handler)

        async def ask() -> None: ...

        def ask_plain() -> None: ...

        return _signed(ask if inspect.iscoroutinefunction(handler) else ask_plain, handler, rest, hints)


class Consumer:
    """The body of a service that handles messages.

    Promises: a message is acked after its handler has returned, and otherwise given back: also what was being handled
    when the body was cancelled, and what came while it was asked to end.
    Assumes: the source brings again what it was never told of, as when the process is killed; so handlers may see a
    message twice.

    Args:
        name: The service's name.
        open_source: Gives the source of one run, given what calls functions of the user's.
        handler: A body that takes a `Delivery`, and the context.
        workers: How many messages are handled at once.
        drains: Whether the source, a `WorkQueue`, is emptied when the body is asked to end.
        surroundings: Its host.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[Any], Awaitable[Any]],
        handler: Callable[..., object],
        *,
        workers: int,
        drains: bool = False,
        surroundings: Surroundings,
    ) -> None:
        self.name, self.handler, self.workers, self.drains = name, handler, workers, drains
        self.surroundings, self.failing = surroundings, Backoff(0.1, 10.0)
        self._open_source = open_source

    async def run(self, context: Context) -> None:
        """Take messages and handle them, until it is asked to end or there will be no more."""
        async with AsyncExitStack() as stack:
            call = await stack.enter_async_context(self.surroundings.one_run())
            source = await self._open_source(call)
            if hasattr(source, "__aenter__"):
                source = await stack.enter_async_context(source)
            # acks and nacks outlive the handlers: what is done is told, also while all of it is being cancelled
            words = await stack.enter_async_context(Scope(self.name, on_error=told_by_result))
            await _Run(self, source, words, context).run()


class _Run:
    """One run of a consumer over one source."""

    def __init__(self, consumer: Consumer, source: Any, words: Scope, context: Context) -> None:
        self._consumer, self._source, self._words, self._context = consumer, source, words, context
        self._fetched: list[Any] = []

    async def run(self) -> None:
        """Take and handle; what was taken and not begun is given back."""
        one, messages = self._consumer, aiter(self._source)
        if one.drains:
            self._words.spawn(self._take_nothing_in(), name="end of what is taken in")
        try:
            async with Slots(one.name, one.workers, surroundings=one.surroundings) as slots:
                while not self._is_over():
                    await slots.room()  # nothing is taken before there is somebody to handle it
                    if self._is_over() or not await slots.watched(self._fetch(messages)):
                        break
                    if self._fetched and not self._is_over():
                        await slots.begin(partial(self._handle, self._fetched.pop()))
                await slots.all_ended()
        finally:
            for message in self._fetched:  # it came too late to be begun
                await self._give_back(message)

    def _is_over(self) -> bool:
        """Whether nothing more is taken; a queue of our own is emptied first."""
        return self._context.stopping and not self._consumer.drains

    async def _take_nothing_in(self) -> None:
        await self._context.asked()
        self._source.finish()

    async def _fetch(self, messages: AsyncIterator[Any]) -> bool:
        """Wait for a message, or for the end; whether there may be more."""
        async with Scope(self._consumer.name, on_error=told_by_result) as scope:
            coming = scope.spawn(self._next(messages), name="next message")
            asked = scope.spawn(self._context.asked(), name="asked to end")
            while not (coming.done() or asked.done()):
                self._context.beat()  # who waits for a message is well
                await asyncio.wait([coming, asked], timeout=_BEAT_EVERY, return_when=asyncio.FIRST_COMPLETED)
            if self._is_over() and not coming.done():
                return True
            await asyncio.wait([coming])
            return coming.result()

    async def _next(self, messages: AsyncIterator[Any]) -> bool:
        try:
            self._fetched.append(await anext(messages))
        except StopAsyncIteration:
            return False
        return True

    async def _handle(self, message: Any, call: Callable[..., Awaitable[object]]) -> None:
        one = self._consumer
        try:
            await call(one.handler, self._context, Delivery(message))
        except Exception as error:
            if isinstance(error, TermEndedError):  # another way to end
                await self._give_back(message)
                raise
            delay = one.failing.delay()
            _log.error(
                "%s could not handle a message, and gives it back; it goes on in %.1f s",
                one.name,
                delay,
                exc_info=exc_info_of(error),
            )
            await self._tell("nack", message)
            await self._context.sleep(delay)  # in its place: what fails always must not turn without a pause
        except BaseException:
            await self._give_back(message)
            raise
        else:
            one.failing.reset()
            await self._tell("ack", message)

    async def _give_back(self, message: Any) -> None:
        """Give a message back because of our end, which goes on whatever comes of that."""
        try:
            await self._tell("nack", message)
        except Exception:
            _log.exception("%s could not give a message back", self._consumer.name)

    async def _tell(self, word: str, message: Any) -> None:
        """Say what became of a message, also if this is being cancelled."""
        teller = getattr(self._source, word, None)
        said: Awaitable[Any] = teller(message) if teller is not None else getattr(message, word)()
        task = self._words.spawn(_awaited(said), name=word)
        await finish(task)
        task.result()


async def open_given(source: Any, call: Callable[..., Awaitable[object]]) -> Any:
    """The source of one run: what was given, or what a function or the container makes of it."""
    if inspect.isclass(source):

        async def of_type(source: Any) -> Any:
            return source

        of_type.__annotations__ = {"source": source}
        return await call(of_type)
    if inspect.isroutine(source):
        return await call(source)
    return source


def check_workers(workers: int) -> int:
    """A number of workers as it was given.

    Raises:
        ConfigurationError: With fewer than one nothing would be handled.
    """
    if workers < 1:
        raise ConfigurationError(f"workers={workers!r}: at least one message must be handled at once")
    return workers


async def _awaited(said: Awaitable[Any]) -> None:
    await said


def _parameters(handler: Callable[..., Any]) -> tuple[str, list[str]]:
    names = list(inspect.signature(handler).parameters)
    if not names:
        raise ConfigurationError(f"{getattr(handler, '__qualname__', handler)} has no parameter for the message")
    return names[0], names[1:]


def _signed(
    function: Callable[..., Any], handler: Callable[..., Any], names: list[str], hints: dict[str, Any]
) -> Callable[..., Any]:
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {name: hints[name] for name in names if name in hints}
    function.__qualname__ = getattr(handler, "__qualname__", repr(handler))
    return function
