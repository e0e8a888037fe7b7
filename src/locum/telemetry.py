"""What happens, as typed events, and the one place that tells it.

An event is told in order, to every handler that asked for its type; a handler that fails is logged and harms nobody.
"""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = [
    "Event",
    "Events",
    "InstanceJoined",
    "InstanceLost",
    "ServiceFailed",
    "StoreLost",
    "StoreRestored",
    "TermEnded",
    "TermStarted",
    "exc_info_of",
    "logger",
    "tell_handler",
]

E = TypeVar("E", bound="Event")
_OURS: Final = str(Path(__file__).parent)


def logger(name: str) -> logging.Logger:
    """The logger of one room, below `locum`."""
    return logging.getLogger(f"locum.{name}")


def exc_info_of(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """An error of the user's code as `exc_info` of a log line: its stack begins there, and not in what called it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return type(error), error, trace or error.__traceback__


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to this instance.

    Attributes:
        instance: The name of the instance that tells it.
    """

    instance: str

    level: ClassVar[int] = logging.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class TermStarted(Event):
    """A term of this instance began: it is active now.

    Attributes:
        service: What it is active in.
        token: The term's token.
        previous: The instance that was active before; empty if none was.
        why: How the previous term ended, in words; empty if there was none.
        gap: Seconds without an active, where both ends were seen by one clock; otherwise `None`.
    """

    service: str
    token: int
    previous: str = ""
    why: str = ""
    gap: float | None = None

    def __str__(self) -> str:
        text = f"{self.instance} is active in {self.service} (token {self.token})"
        if self.previous:
            text += f": {self.previous} {self.why}"
        if self.gap is not None:
            text += f"; {_duration(self.gap)} without an active"
        return text + "."


@dataclass(frozen=True, slots=True, kw_only=True)
class TermEnded(Event):
    """A term of this instance is over.

    Attributes:
        service: What it was active in.
        token: The term's token.
        why: The reason, in words.
        lost: Whether it was taken from us (otherwise it was given up).
    """

    service: str
    token: int
    why: str
    lost: bool

    def __str__(self) -> str:
        return f"{self.instance} is no longer active in {self.service} (token {self.token}): it {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFailed(Event):
    """The body of a service raised.

    Attributes:
        service: Its name.
        error: What it raised.
        retry_in: Seconds until it is run, or stands in line, again; `None` if it is not.
    """

    service: str
    error: BaseException
    retry_in: float | None

    def __str__(self) -> str:
        again = "it is not run again" if self.retry_in is None else f"it comes back in {_duration(self.retry_in)}"
        return f"{self.service} failed on {self.instance}: {type(self.error).__name__}: {self.error}; {again}."


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceJoined(Event):
    """Another instance is there now.

    Attributes:
        name: Its name.
        machine: Its machine's name.
    """

    name: str
    machine: str

    level: ClassVar[int] = logging.DEBUG  # every instance is told: on each console, that is noise

    def __str__(self) -> str:
        return f"{self.name} on {self.machine} has joined."


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLost(Event):
    """Another instance is gone.

    Attributes:
        name: Its name.
        why: How it ended, in words.
    """

    name: str
    why: str

    level: ClassVar[int] = logging.DEBUG  # every instance is told: on each console, that is noise

    def __str__(self) -> str:
        return f"{self.name} is gone: it {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost(Event):
    """The store does not answer, or ended this instance's session.

    Attributes:
        why: What was seen, in words.
    """

    why: str

    def __str__(self) -> str:
        return f"{self.instance} {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRestored(Event):
    """The store answers again, and this instance has a session."""

    def __str__(self) -> str:
        return f"{self.instance} has a session again."


class Events:
    """Tells events to those who asked for them.

    Args:
        instance: Whose events these are.
        spawn: Starts the task of an asynchronous handler, given its coroutine and a name.
    """

    def __init__(self, instance: str, spawn: Callable[[Coroutine[Any, Any, object], str], object]) -> None:
        self.instance = instance
        self._spawn = spawn
        self._handlers: list[tuple[type[Event], Callable[[Any], object]]] = []

    def on(self, kind: type[E], handler: Callable[[E], object]) -> None:
        """Call `handler` (plain or async) with every event of that type or below it."""
        self._handlers.append((kind, handler))

    def tell(self, event: Event) -> None:
        """Log an event and give it to its handlers."""
        logger("events").log(event.level, "%s", event)
        for kind, handler in self._handlers:
            if isinstance(event, kind):
                tell_handler(handler, event, of=type(event).__name__, spawn=self._spawn)


def tell_handler(
    handler: Callable[[Any], object],
    value: object,
    *,
    of: str,
    spawn: Callable[[Coroutine[Any, Any, object], str], object] | None,
) -> None:
    """Tell a handler of the user's, plain or async; one that fails is logged, and harms nobody.

    Args:
        handler: Who is told.
        value: What it is told.
        of: Of what it is a handler, for people.
        spawn: Starts the task of an asynchronous one; `None` if there is nobody who could.
    """
    try:
        result = handler(value)
        if not inspect.iscoroutine(result):
            return
        if spawn is None:
            result.close()
            raise RuntimeError("an async handler needs a host that runs")
        spawn(_heard(result, of), f"handler of {of}")
    except Exception as error:
        _tell_failed(of, error)


async def _heard(work: Coroutine[Any, Any, object], of: str) -> None:
    try:
        await work
    except Exception as error:
        _tell_failed(of, error)


def _tell_failed(of: str, error: Exception) -> None:
    logger("events").error("a handler of %s failed", of, exc_info=exc_info_of(error))


def _duration(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
