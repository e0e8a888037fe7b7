"""Bodies written as plain functions: which they are, and what they are given in place of an async one's context."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from locum import blocking
from locum.context import Context
from locum.coordination.shard import Shard
from locum.coordination.term import Term
from locum.errors import ConfigurationError
from locum.service import Stopping
from locum.services.active_passive import Standby

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_plain", "check_body", "check_context", "facade_of", "is_plain"]

_FACADES: Final[dict[type[Context], Callable[[Any], blocking.Context]]] = {
    Shard: blocking.Shard,
    Term: blocking.Term,
    Standby: blocking.Standby,
    Stopping: blocking.Stopping,
    Context: blocking.Context,
}


def is_plain(function: Any) -> bool:
    """Whether a body is called in a thread of its own: it is no `async def`."""
    return not inspect.iscoroutinefunction(function)


def facade_of(given: object) -> object:
    """What a plain body is given in place of a context; anything else as it is."""
    own = type(given).facade if isinstance(given, Context) else None
    if own is not None:
        return own(given)
    return next((_FACADES[cls](given) for cls in type(given).__mro__ if cls in _FACADES), given)


def check_body(function: Any) -> None:
    """See that something can be a body at all.

    Raises:
        ConfigurationError: It cannot.
    """
    if not inspect.isroutine(function):
        raise ConfigurationError(f"{_name(function)} is no function: decorate an async def or a def")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{_name(function)} is a generator, whose body would never run: write no yield in it")


def check_context(function: Any, name: str, kind: Any) -> None:
    """See that a body asks for the contexts of its own sort: a plain one for the blocking ones.

    Raises:
        ConfigurationError: It does not.
    """
    asynchronous, plain = ("an async def", "locum"), ("a plain def", "locum.blocking")
    right, wrong, wrong_kind = (
        (plain, asynchronous, Context) if is_plain(function) else (asynchronous, plain, blocking.Context)
    )
    if inspect.isclass(kind) and issubclass(kind, wrong_kind):
        raise ConfigurationError(
            f"{_name(function)} is {right[0]} and asks for {wrong[1]}.{kind.__name__} ({name!r}): {right[0]} is given"
            f" {right[1]}.{kind.__name__}: annotate it so, or write {wrong[0]}"
        )


def call_plain(function: Callable[..., object], arguments: dict[str, object]) -> object:
    """Call a plain body.

    Raises:
        TypeError: It has returned something to be awaited, which nobody would do.
    """
    result = function(**arguments)
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(f"{_name(function)} is a plain def and returned something to be awaited: write async def")


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
