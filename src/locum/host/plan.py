"""What a user has declared, as the worker needs it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence  # in annotations that are read when the program runs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from locum.errors import ConfigurationError
from locum.host.container import Container
from locum.host.health import Health
from locum.host.lifecycle import Order, StopTimes
from locum.host.restart import Restart, RestartWhen
from locum.names import check_name
from locum.service import ServiceHooks
from locum.services.active_passive import ActivePassiveService
from locum.services.background import BackgroundService
from locum.services.consumer import ConsumerService, Delivery, check_workers
from locum.services.life import ReliableService
from locum.services.periodic import PeriodicService, Rhythm
from locum.services.sharded import ShardedService
from locum.services.stateful import StatefulService
from locum.services.stateless import StatelessService
from locum.services.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.coordination.shards import Sharding
    from locum.host.configuration import Configuration
    from locum.host.settings import Settings
    from locum.jobs.job import Roster
    from locum.telemetry import Event

__all__ = [
    "Completion",
    "Declaration",
    "Kind",
    "Plan",
    "ServiceOptions",
    "health_of",
    "hooks_of",
    "kind_of",
    "queue_of",
    "rhythm_of",
    "workers_of",
]

Kind = Literal["active_passive", "background", "sharded", "stateful", "stateless"]
Completion = Literal["keep_host", "stop_host", "stop_when_all_done"]
_COMPLETIONS: Final = ("keep_host", "stop_host", "stop_when_all_done")
_INFINITE: Final = float("inf")
_ARTICLED: Final = {
    "active_passive": "an active-passive",
    "sharded": "a sharded",
    "stateful": "a stateful",
    "stateless": "a stateless",
}


class ServiceOptions(TypedDict, total=False):
    """What can be said of every service, whatever its kind.

    Attributes:
        name: Its name; the class's or the function's in snake case if none is given.
        after: The services that it needs, by name, or as they were given to the host: it starts when they are ready,
            and is stopped before them. Services that need nothing of each other start and stop side by side.
        group: Services of one group begin anew together, if one of them fails too often.
        restart: Whether and when it is run again: `never`, `on_failure`, `always`, or a `Restart`.
        completion: What its return means for the host: `keep_host`; `stop_host`; or `stop_when_all_done`, when all
            services that say so have returned. A failure for good counts as well, and gives the exit code 1.
        start_timeout: Seconds from the beginning of its start until it is ready.
        stop_timeout: Seconds it may take to stop.
        says_ready: Whether its body says when it is ready (`ready()`); otherwise it is once it has begun.
    """

    name: str | None
    after: Sequence[Any]
    group: str | None
    restart: Restart | RestartWhen
    completion: Completion
    start_timeout: float
    stop_timeout: float
    says_ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One service as it was declared; the options are those of `ServiceOptions`.

    Attributes:
        kind: Where it works, and whether it has roles.
        what: Its class, an object of it, or a function.
        rhythm: When its turns come, if it is periodic.
        source: Where its messages come from, if it handles such and is no class.
        workers: How many messages are handled at once.
        sharding: How it is sharded, if it is.
        roster: The jobs, if it is the service that runs them.
    """

    name: str
    kind: Kind
    what: Any
    rhythm: Rhythm | None = None
    source: Any = None
    workers: int = 1
    sharding: Sharding | None = None
    roster: Roster | None = None
    after: Sequence[Any] = ()
    group: str | None = None
    restart: Restart = field(default_factory=Restart)
    completion: Completion = "keep_host"
    start_timeout: float = 60.0
    stop_timeout: float = 30.0
    says_ready: bool = False

    def __post_init__(self) -> None:
        """See that it can be.

        Raises:
            ConfigurationError: It cannot.
        """
        check_name(self.name, what="the name of a service (name= gives another)")
        for option in ("start_timeout", "stop_timeout"):
            value = getattr(self, option)
            if not 0 < value < _INFINITE:
                raise ConfigurationError(f"{self.name}: {option}={value!r} must be a number of seconds above 0")
        if self.completion not in _COMPLETIONS:
            raise ConfigurationError(
                f"{self.name}: completion={self.completion!r} is not known: it is one of {', '.join(_COMPLETIONS)}"
            )
        if self.kind != "background" and self.completion != "keep_host":
            raise ConfigurationError(
                f"{self.name}: completion={self.completion!r} cannot be for {_ARTICLED[self.kind]} service: with its"
                " host it would give up what it holds, and the next instance would do all of it again"
            )
        if self.group is not None:
            check_name(self.group, what="the name of a group")
        check_workers(self.workers)
        if self.rhythm is not None and self.rhythm.limit is not None:
            for body in self.bodies:
                if not inspect.iscoroutinefunction(body):
                    raise ConfigurationError(
                        f"{self.name}: limit={self.rhythm.limit!r} needs an async def: nobody can end a thread"
                    )

    @property
    def is_consumer(self) -> bool:
        """Whether it handles what comes from a source."""
        return self.source is not None or _is(self.what, ConsumerService)

    @property
    def has_roles(self) -> bool:
        """Whether it works on some instances, and stands by on the others."""
        return self.kind == "active_passive" or (self.kind == "stateless" and self.what.instances is not None)

    @property
    def comes_last(self) -> bool:
        """Whether it is started after all others, and stopped before them."""
        return bool(getattr(self.what, "comes_last", False))

    @property
    def bodies(self) -> list[Callable[..., object]]:
        """The user's functions that it calls, as they are called: a class's methods without their `self`."""
        if self.roster is not None:
            return self.roster.bodies
        cls = self.what if inspect.isclass(self.what) else type(self.what)
        bodies: list[Any] = [self.what]
        for kind, names in _BODIES.items():
            if issubclass(cls, kind):
                found = [(inspect.getattr_static(cls, name), getattr(kind, name)) for name in names]
                bodies = [body.__get__(cls, cls) for body, inherited in found if body is not inherited]
        if self.is_consumer:
            bodies = [Delivery.asked_by(body, _hints(body)) for body in bodies]
        return bodies + ([self.source] if inspect.isroutine(self.source) else [])

    def is_called(self, other: Any) -> bool:
        """Whether this is what is meant by a name, or by what was given to the host."""
        return other == self.name if isinstance(other, str) else other is self.what or other is self.source


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
        critical: Services whose bodies must beat at least every so many seconds while they work.
        health: That of the run in this process, once there is one.
        enforcement: `kill` or `cancel`; `None` for what is usual where it runs.
        on_reload: What is called (plain or async) when the process is told to reload, in order.
        roster: The jobs, once there is one.
        jobs_at_once: How many runs of them one instance has at once.
    """

    name: str
    configuration: Configuration
    enforcement: str | None = None
    critical: dict[str, float] = field(default_factory=dict)
    health: Health | None = None
    container: Container = field(default_factory=Container)
    declarations: list[Declaration] = field(default_factory=list)
    fences: list[Any] = field(default_factory=list)
    handlers: list[tuple[type[Event], Callable[[Any], object]]] = field(default_factory=list)
    on_reload: list[Callable[[], object]] = field(default_factory=list)
    roster: Roster | None = None
    jobs_at_once: int = 10

    def __post_init__(self) -> None:
        """Read the settings again first."""
        self.on_reload.insert(0, self.configuration.reload)

    def declare(self, declaration: Declaration) -> None:
        """Add a service.

        Raises:
            ConfigurationError: Its name is taken.
        """
        if any(declared.name == declaration.name for declared in self.declarations):
            raise ConfigurationError(
                f"{self.name} has a service {declaration.name!r} already: give one of them another name="
            )
        self.declarations.append(declaration)

    def take_jobs(self) -> Roster:
        """The jobs of this host; with the first of them comes the service that runs them."""
        from locum.jobs.job import Roster

        if self.roster is None:
            self.roster = Roster(self.jobs_at_once)
            self.declare(
                Declaration(name="jobs", kind="background", what=self.roster, roster=self.roster, says_ready=True)
            )
        return self.roster

    def check(self, settings: Settings) -> None:
        """See that all of it can run.

        Args:
            settings: With which it would.

        Raises:
            ConfigurationError: It cannot.
        """
        if not self.declarations:
            raise ConfigurationError(f"the host {self.name} has no services: host.add(...) one before it runs")
        self.check_limits(settings)
        if self.roster is not None:
            self.roster.check()
        self.container.check([body for one in self.declarations for body in one.bodies])

    def check_limits(self, settings: Settings) -> None:
        """See that a stop leaves some time to the services.

        Raises:
            ConfigurationError: None is left.
        """
        limit = self.stop_limit(settings)
        if not settings.drain_delay < limit:
            raise ConfigurationError(
                f"the host {self.name} has a drain_delay of {settings.drain_delay:g} s and stops within {limit:g} s:"
                " nothing is left for its services"
            )

    @property
    def order(self) -> Order:
        """Who waits for whom.

        Raises:
            ConfigurationError: Somebody comes after nobody of this host, or after itself, round about.
        """
        first = [one.name for one in self.declarations if not one.comes_last]
        return Order(
            {
                one.name: [*(self._name_of(other, one) for other in one.after), *(first if one.comes_last else ())]
                for one in self.declarations
            }
        )

    def stop_limit(self, settings: Settings) -> float:
        """Seconds that the stop of all services may take."""
        if settings.stop_timeout is not None:
            return settings.stop_timeout
        limits = {one.name: one.stop_timeout for one in self.declarations}
        return StopTimes.host_limit(self.order, limits, drain=settings.drain_delay)

    def _name_of(self, other: Any, of: Declaration) -> str:
        for one in self.declarations:
            if one.is_called(other):
                return one.name
        if isinstance(other, str):
            return other  # the order says that there is none
        raise ConfigurationError(f"{of.name} comes after {other!r}, which was not given to this host: name a service")


_BODIES: Final[dict[type, tuple[str, ...]]] = {
    ActivePassiveService: ("run_active", "run_passive"),
    BackgroundService: ("run",),
    PeriodicService: ("tick",),
    ConsumerService: ("handle",),
    ShardedService: ("run_shard",),
    StatelessService: ("run",),
    StatefulService: ("run",),
}


def health_of(plan: Plan, instance: str, *, clock: Clock, changed: Callable[[], object]) -> Health:
    """The health of one run of a host.

    Raises:
        ConfigurationError: Something is critical that is no service.
    """
    services = {one.name: one.has_roles for one in plan.declarations}
    for name in plan.critical:
        if name not in services:
            raise ConfigurationError(f"{name!r} is critical, and no service: the host has {', '.join(services)}")
    return Health(plan.name, instance, clock=clock, services=services, critical=plan.critical, changed=changed)


def hooks_of(what: object) -> ServiceHooks | None:
    """The hooks of a service, if it is a class's."""
    return what if isinstance(what, ServiceHooks) else None


def kind_of(service: Any, *, active_passive: bool) -> Kind:
    """Where a service that is written as a class works: on one instance, or on all.

    Raises:
        ConfigurationError: It is no service, or a kind of its own that cannot be changed.
    """
    cls = service if inspect.isclass(service) else type(service)
    if issubclass(cls, (PeriodicService, ConsumerService)):
        return "active_passive" if active_passive else "background"
    if issubclass(cls, ActivePassiveService):
        return "active_passive"
    if issubclass(cls, ShardedService) and not active_passive:
        return "sharded"
    if issubclass(cls, ReliableService) and not active_passive:
        if not inspect.isclass(service):
            raise ConfigurationError(
                f"{cls.__qualname__} is added as a class, and not as an object: each life of it has a new one"
            )
        return "stateful" if issubclass(cls, StatefulService) else "stateless"
    if not issubclass(cls, (BackgroundService, ShardedService, ReliableService)):
        raise ConfigurationError(
            f"{cls.__qualname__} is no service: derive it from ActivePassiveService, BackgroundService,"
            " PeriodicService, ConsumerService, ShardedService, StatelessService or StatefulService, or decorate a"
            " function with @host.active_passive or @host.background"
        )
    if active_passive:
        raise ConfigurationError(f"{cls.__qualname__} runs on every instance: derive it from ActivePassiveService")
    return "background"


def rhythm_of(service: Any) -> Rhythm | None:
    """When the turns of a service come that is written as a class; `None` if it has none."""
    if not _is(service, PeriodicService):
        return None
    if not hasattr(service, "every"):
        cls = service if inspect.isclass(service) else type(service)
        raise ConfigurationError(f"{cls.__qualname__} does not say how often: give it an attribute `every`, in seconds")
    return Rhythm(
        every=service.every, jitter=service.jitter, overlap=service.overlap, most=service.most, limit=service.limit
    )


def workers_of(service: Any) -> int:
    """How many messages a service handles at once that is written as a class."""
    return int(service.workers) if _is(service, ConsumerService) else 1


def queue_of(declaration: Declaration) -> WorkQueue[Any] | None:
    """The queue that a service empties, if it does."""
    return declaration.source if isinstance(declaration.source, WorkQueue) else None


def _is(service: Any, kind: type) -> bool:
    return issubclass(service if inspect.isclass(service) else type(service), kind)


def _hints(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function)
