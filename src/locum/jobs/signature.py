"""What a plain function asks for that is called in a process of its own: params by name, and maybe its run."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from locum.errors import ConfigurationError, ScheduleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["asks_for_run", "check_params"]


_PLAIN: Final = ("locum.blocking.run", "Run")
_ASYNC: Final = ("locum.jobs.run", "Run")


def asks_for_run(function: Callable[..., object]) -> str | None:
    """The parameter that is annotated `locum.blocking.Run`, by its name; a module need not have loaded that."""
    return next((name for name, kind in _annotated(function).items() if kind == _PLAIN), None)


def _annotated(function: Callable[..., object]) -> dict[str, tuple[str, str]]:
    """The parameters that are annotated with a run: of which module, as far as that can be known."""
    found: dict[str, tuple[str, str]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = _looked_up(annotation, function)
        if isinstance(annotation, str):  # loaded for the type checker only
            found[name] = (_PLAIN[0], annotation.rpartition(".")[2])
        elif inspect.isclass(annotation):
            found[name] = (annotation.__module__, annotation.__name__)
    return found


def _looked_up(annotation: str, function: Callable[..., object]) -> Any:
    """What an annotation names in the function's module; itself if nothing there has that name."""
    first, *others = annotation.split(".")
    named = getattr(function, "__globals__", {}).get(first, annotation)
    for other in others if named is not annotation else ():
        named = getattr(named, other, annotation)
    return named


def check_params(job: str, function: Callable[..., object], params: Mapping[str, Any]) -> None:
    """See that a function can be called with these params.

    Raises:
        ScheduleError: It cannot.
        ConfigurationError: It asks for what an `async def` is given.
    """
    wrong = next((name for name, kind in _annotated(function).items() if kind == _ASYNC), None)
    if wrong is not None:
        raise ConfigurationError(
            f"{function.__qualname__} is a plain def and asks for locum.Run ({wrong!r}): a plain def is given"
            " locum.blocking.Run: annotate it so"
        )
    name, signature = asks_for_run(function), inspect.signature(function)
    if name is not None:
        signature = signature.replace(parameters=[one for key, one in signature.parameters.items() if key != name])
        params = {key: value for key, value in params.items() if key in signature.parameters}
    try:
        signature.bind(**params)
    except TypeError as error:
        raise ScheduleError(f"{job}: its params are not what {function.__name__} takes: {error}") from error
