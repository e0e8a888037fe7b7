"""What a user has declared, as the worker needs it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from locum.host.container import Container
from locum.service import ServiceHooks
from locum.services.active_passive import ActivePassiveService
from locum.services.background import BackgroundService

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.host.configuration import Configuration
    from locum.telemetry import Event

__all__ = ["Declaration", "Plan", "hooks_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One service as it was declared.

    Attributes:
        name: Its name, unique in the host.
        kind: `active_passive` or `background`.
        what: Its class, an object of it, or a function.
        every: Seconds from one call of a function to the next; `None` to call it once a run.
        stop_timeout: Seconds it may take to stop.
    """

    name: str
    kind: str
    what: Any
    every: float | None
    stop_timeout: float

    @property
    def bodies(self) -> list[Callable[..., object]]:
        """The user's functions that it calls, as they are called: a class's methods without their `self`."""
        cls = self.what if inspect.isclass(self.what) else type(self.what)
        for kind, names in _BODIES.items():
            if issubclass(cls, kind):
                found = [(inspect.getattr_static(cls, name), getattr(kind, name)) for name in names]
                return [body.__get__(cls, cls) for body, inherited in found if body is not inherited]
        return [self.what]


@dataclass(slots=True)
class Plan:
    """Everything that a host runs.

    Attributes:
        name: The host's name.
        configuration: Where its settings are read.
        container: Builds collaborators.
        declarations: The services, in the order of their declaration.
        fences: Databases, or the types of collaborators that reach one.
        handlers: Who asked for which events.
        enforcement: `kill` or `cancel`; `None` for what is usual where it runs.
    """

    name: str
    configuration: Configuration
    enforcement: str | None = None
    container: Container = field(default_factory=Container)
    declarations: list[Declaration] = field(default_factory=list)
    fences: list[Any] = field(default_factory=list)
    handlers: list[tuple[type[Event], Callable[[Any], object]]] = field(default_factory=list)


_BODIES: Final[dict[type[ServiceHooks], tuple[str, ...]]] = {
    ActivePassiveService: ("run_active", "run_passive"),
    BackgroundService: ("run",),
}


def hooks_of(what: object) -> ServiceHooks | None:
    """The start and close of a service, if it is a class's."""
    return what if isinstance(what, ServiceHooks) else None
