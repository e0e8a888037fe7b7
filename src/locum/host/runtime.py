"""Running what a host declares: the surroundings of its services, whoever keeps the session.

How a run begins and ends differs: under a keeper process it is the worker's whole life (`kept.py`), inside somebody
else's process it is a part of theirs (`embedded.py`).
"""

from __future__ import annotations

import asyncio
import typing
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from locum.clock import Clock
from locum.context import Context, under
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.coordination.fence import Fence, fence_of
from locum.coordination.replicas import Replicas
from locum.coordination.shared import Semaphore
from locum.coordination.term import Term
from locum.errors import ConfigurationError, CrashLoopError, LocumError, StartError, StopTimeoutError
from locum.host import phases
from locum.host.groups import Groups
from locum.host.health import State
from locum.host.notify import Notifier
from locum.host.phases import Phases
from locum.host.plan import health_of, hooks_of, queue_of
from locum.host.reporting import Reporting, Reports
from locum.host.restart import Restarts
from locum.host.settings import LIMIT_KEYS
from locum.keeper.budget import Budget
from locum.logs import bound
from locum.registry import make_store, open_when_there, without_secrets
from locum.scopes import Scope, told_by_result
from locum.services.active_passive import ActivePassiveRunner, ActivePassiveService, Standby
from locum.services.background import BackgroundRunner
from locum.services.carrier import StatefulRunner
from locum.services.consumer import Consumer, ConsumerService, Delivery, open_given
from locum.services.life import Limits, ReliableService
from locum.services.periodic import Periodic
from locum.services.sharded import Resting, ShardedRunner, ShardedService
from locum.services.stateless import EVERYWHERE, Permit, Stateless
from locum.telemetry import Events, InstanceLost, ServiceFailed, StoreLost, StoreRestored, logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from locum.host.plan import Declaration, Plan
    from locum.host.restart import Restart
    from locum.host.settings import Settings
    from locum.jobs.crew import Crew
    from locum.jobs.job import Roster
    from locum.keeper.lease import LeaseSource
    from locum.service import Mode, Runner
    from locum.store import Store
    from locum.telemetry import Event

__all__ = ["Runtime", "StoppedWhileStartingError"]

_log = logger("host")
_HANDLERS_WITHIN: Final = 2.0  # s
_ROLES: Final = {Term: "active", Standby: "passive"}


class StoppedWhileStartingError(Exception):
    """The host was told to stop before all its services had started; what had begun was taken back."""


class Runtime(ABC):
    """One run of a host.

    Attributes:
        told_to_end: Set when the services are to stop, whatever the cause.
        failures: What services failed with for good.

    Args:
        plan: What it runs.
        settings: As the environment overrides them.
        instance: The instance's name.

    Raises:
        ConfigurationError: What was declared cannot run.
    """

    def __init__(self, plan: Plan, settings: Settings, instance: str) -> None:
        plan.check(settings)
        self._plan, self._settings = plan, settings
        self.instance = instance
        self.clock = Clock()
        self.ttl = Budget.of_seconds(settings.ttl).ttl
        self._modes: dict[str, dict[str, object]] = {}
        self._modes_changed = asyncio.Event()
        self._fences: list[Fence] = []
        self._attempts: Counter[tuple[str, str]] = Counter()
        self.health = plan.health = health_of(plan, instance, clock=self.clock, changed=self._report)
        self._reporting: Reporting | None = None
        self.told_to_end = asyncio.Event()
        self.failures: list[BaseException] = []
        self._done: set[str] = set()
        self._handlers: set[asyncio.Task[object]] = set()
        self._phases = Phases(
            plan.order,
            {one.name: phases.Limits(start=one.start_timeout, stop=one.stop_timeout) for one in plan.declarations},
            clock=self.clock,
            host=plan.stop_limit(settings),
            drain=settings.drain_delay,
        )

    @abstractmethod
    def fail(self, why: str, code: int) -> None:
        """End this process, or what of it may be ended: something overlaps, or cannot be ended otherwise."""

    @abstractmethod
    def stopped(self, errors: list[Exception]) -> None:
        """The services were stopped; what went wrong then."""

    @abstractmethod
    def limit(self, *, stop_timeout: float, hang_timeout: float) -> None:
        """Whoever keeps this instance is to know how long a stop and a hang may take from now on."""

    # -- what services ask of their host

    def tell(self, event: Event) -> None:
        """Tell an event."""
        if isinstance(event, ServiceFailed):
            self.health.failed(event.service, event.error, again=event.retry_in is not None)
        self._events.tell(event)

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """Show what a service does now."""
        self._modes[service] = {"mode": mode.value, "token": token, "since": self.clock.wall().isoformat()}
        self._modes_changed.set()
        self.health.show(service, mode, token)

    def warn(self, service: str, of: str) -> None:
        """Something that people should know of a service that works."""
        self.health.warn(service, of)

    async def call(self, function: Callable[..., object], *given: object) -> object:
        """Call a body with what it asks for by type, a plain one in a thread of its own."""
        self.health.began(given)
        context = next((one for one in given if isinstance(one, Context)), None)
        with self._line_of(context), under(context):
            return await self._plan.container.call(function, *given)

    def _line_of(self, context: Context | None) -> AbstractContextManager[None]:
        """What the lines of one run belong to."""
        if context is None:
            return bound(instance=self.instance)
        role = _ROLES.get(type(context), "running")
        self._attempts[context.name, role] += 1
        return bound(
            instance=self.instance,
            service=context.name,
            role=role,
            token=getattr(context, "token", None),
            attempt=self._attempts[context.name, role],
        )

    def one_run(self) -> AbstractAsyncContextManager[Callable[..., Awaitable[object]]]:
        """One run of a body, in which functions are called one after another."""
        return self._plan.container.run()

    def over(self, service: str, error: BaseException | None) -> None:
        """A service is not run again: for its group, its host, or for nobody else, as its declaration says."""
        if isinstance(error, CrashLoopError):
            if not self._groups.begin_anew(service, error):
                self._escalate(error)
            return
        if error is not None:
            self.failures.append(error)
        self._done.add(service)
        completion = next(one.completion for one in self._plan.declarations if one.name == service)
        waited_for = {one.name for one in self._plan.declarations if one.completion == completion}
        if completion == "stop_host" or (completion == "stop_when_all_done" and waited_for <= self._done):
            how = "has completed" if error is None else "has failed"
            _log.info("%s %s: %s stops, as was declared.", service, how, self._plan.name)
            self.complete()

    # -- for those who begin and end it

    def complete(self) -> None:
        """Have the services stopped, because one of them was declared to end all."""
        self.end()

    def end(self) -> None:
        """Have the services stopped, if they run."""
        self.told_to_end.set()

    def hurry(self) -> None:
        """Cancel what is ending by itself."""
        self._phases.hurry()

    def events(self, scope: Scope) -> Events:
        """Where events are told, with the user's handlers."""

        def spawn(coroutine: Coroutine[Any, Any, object], name: str) -> object:
            task = scope.spawn(coroutine, name=name)
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)
            return task

        self._events = Events(self.instance, spawn)
        self._plan.configuration.spawn_with(spawn)
        self._plan.configuration.tell_with(self.health.settings_read)
        self._plan.configuration.heed(LIMIT_KEYS, self._heed, check=self._plan.check_limits)
        for kind, handler in self._plan.handlers:
            self._events.on(kind, handler)
        self._events.on(StoreLost, lambda _: self.health.lost_store(lost=True))
        self._events.on(StoreRestored, lambda _: self.health.lost_store(lost=False))
        return self._events

    @asynccontextmanager
    async def reporting(self, scope: Scope, notifier: Notifier | None = None) -> AsyncIterator[None]:
        """The host's health is reported for the length of the block; only with a notifier to systemd too.

        Raises:
            ConfigurationError: It cannot be reported where it was asked for.
        """
        self._reporting = Reporting(
            self.health,
            Reports(address=self._settings.health, file=self._settings.health_file),
            notifier or Notifier(),
            clock=self.clock,
            scope=scope,
        )
        async with self._reporting.reporting():
            yield

    def reloading(self) -> AbstractContextManager[None]:
        """A reload is told of for the length of the block."""
        return self._reporting.reloading() if self._reporting is not None else nullcontext()

    def make_store(self) -> Store:
        """A store of one's own, not yet opened."""
        return make_store(self._settings.store_url, namespace=self._plan.name, clock=self.clock)

    @asynccontextmanager
    async def running(self, leases: LeaseSource, scope: Scope) -> AsyncIterator[None]:
        """The services run for the length of the block; a session is there already.

        Raises:
            StartError: One of them did not start.
        """
        budget = (await leases.lease()).budget
        store = self.make_store()
        store.call_timeout, store.seen = budget.call_seconds, leases.seen
        await open_when_there(store, clock=self.clock, told=lambda why: _log.debug("%s", why))
        self._commons = Commons(store, leases, events=self._events, fences=lambda: self._fences)
        coordinator = Coordinator(self._commons)
        try:
            self.health.enter(State.STARTING)
            await coordinator.open()
            publishing = scope.spawn(self._publish(coordinator, leases), name="modes of the services")
            scope.spawn(self._plan.configuration.watch(self.clock), name="changes of the settings")
            make = partial(self._make, coordinator)
            self._groups = Groups(
                self._plan.declarations,
                restart=lambda names: self._phases.restart(names, make),
                escalate=self._escalate,
                clock=self.clock,
            )
            try:
                await self._start(make)
            except BaseException:
                await self._groups.close()
                await self._plan.container.close()
                raise
            _log.info(
                "%s of %s runs %s on %s%s, TTL %g s.",
                self.instance,
                self._plan.name,
                ", ".join(one.name for one in self._plan.declarations),
                without_secrets(self._settings.store_url),
                " (one machine only)" if coordinator.one_machine else "",
                self._settings.ttl,
            )
            self.health.enter(State.READY)
            try:
                yield
            finally:
                self.health.enter(State.STOPPING)
                _log.info("%s stops.", self.instance)
                self.end()
                await self._groups.close()
                errors = await self._phases.stop("was stopped")
                await self._plan.container.close()
                for error in errors:
                    if not isinstance(error, StopTimeoutError):  # who told it already
                        _log.error("%s", error)
                self.stopped(errors)
                publishing.cancel()
        finally:
            await self._phases.close()
            await self._hear_handlers_out()
            await coordinator.close(patience=budget.call_seconds)
            await store.close()

    # -- inside

    async def _hear_handlers_out(self) -> None:
        """Let handlers of what happened at the stop come to their end, in bounded time."""
        if self._handlers:
            _, late = await asyncio.wait(list(self._handlers), timeout=_HANDLERS_WITHIN)
            for task in late:
                _log.warning("%s has not ended within %g s, and is cancelled", task.get_name(), _HANDLERS_WITHIN)

    def _heed(self, settings: Settings) -> None:
        """What a reload has changed of the limits holds from now on; a stop that has begun goes on as it began."""
        stop_timeout = self._plan.stop_limit(settings)
        self._phases.limit(host=stop_timeout, drain=settings.drain_delay)
        self.limit(stop_timeout=stop_timeout, hang_timeout=settings.hang_timeout)

    def _report(self) -> None:
        if self._reporting is not None:
            self._reporting.change()

    async def _start(self, make: Callable[[str], Awaitable[Runner]]) -> None:
        """Make the services and start them, unless the host is told to stop meanwhile."""

        async def start() -> None:
            for target in self._plan.fences:
                self._fences.append(
                    fence_of(await self._plan.container.get(target) if isinstance(target, type) else target)
                )
            await self._phases.start({one.name: await make(one.name) for one in self._plan.declarations})

        # of its own: a start that fails is told by whoever waits for it, and in other words than a task that failed
        async with Scope(f"start of {self._plan.name}", on_error=told_by_result) as scope:
            starting = scope.spawn(start(), name="start")
            told = scope.spawn(self.told_to_end.wait(), name="told to end")
            await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
        if starting.cancelled():
            raise StoppedWhileStartingError
        starting.result()

    def _escalate(self, error: Exception) -> None:
        """It cannot go on so: the host ends, and whoever started it may begin anew."""
        _log.error("%s stops: %s", self._plan.name, error)
        self.failures.append(error)
        self.end()

    async def _make(self, coordinator: Coordinator, name: str) -> Runner:
        declaration = next(one for one in self._plan.declarations if one.name == name)
        return await self._runner(declaration, coordinator)

    async def _runner(self, declaration: Declaration, coordinator: Coordinator) -> Runner:
        what = declaration.what
        if isinstance(what, type) and not issubclass(what, ReliableService):
            try:
                what = await self._plan.container.build(what)
            except ConfigurationError:
                raise
            except Exception as error:
                raise StartError(declaration.name, f"it could not be built: {type(error).__name__}: {error}") from error
        hooks = hooks_of(what)
        options: dict[str, Any] = {
            "surroundings": self,
            "restarts": Restarts(declaration.name, declaration.restart, clock=self.clock),
            "stop_timeout": declaration.stop_timeout,
            "says_ready": declaration.says_ready,
        }
        if declaration.kind == "stateless":
            return self._stateless(declaration, coordinator, options)
        if declaration.kind == "stateful":
            return self._stateful(declaration, coordinator, options)
        active_passive = isinstance(what, ActivePassiveService)
        body: Callable[..., Any]
        if declaration.rhythm is not None:
            tick = what.tick if hooks else what
            body = Periodic(declaration.name, tick, declaration.rhythm, surroundings=self).run
        elif declaration.roster is not None:
            body = self._crew(declaration.roster).run
        elif declaration.is_consumer:
            body = self._consumer(declaration, what).run
        elif declaration.sharding is not None:
            body = what.run_shard if isinstance(what, ShardedService) else what
            shards = coordinator.shards(declaration.name, declaration.sharding)
            resting = _resting(declaration.restart)
            return ShardedRunner(declaration.name, body, hooks, shards=shards, resting=resting, **options)
        else:
            body = (what.run_active if active_passive else what.run) if hooks else what
        if declaration.kind == "background":
            return BackgroundRunner(declaration.name, body, hooks, **options)
        overridden = active_passive and type(what).run_passive is not ActivePassiveService.run_passive
        passive = what.run_passive if overridden else None
        election = coordinator.election(declaration.name)
        return ActivePassiveRunner(declaration.name, body, passive, hooks, election=election, **options)

    def _stateless(self, declaration: Declaration, coordinator: Coordinator, options: dict[str, Any]) -> Runner:
        name, cls = declaration.name, declaration.what
        stateless = Stateless(
            name,
            partial(self._plan.container.build, cls),
            naming=coordinator.naming,
            surroundings=self,
            limits=Limits(start=declaration.start_timeout, stop=declaration.stop_timeout),
            says_ready=declaration.says_ready,
        )
        options = {**options, "before_asked": stateless.silence, "says_ready": True}
        if cls.instances is EVERYWHERE:
            return BackgroundRunner(name, stateless.live, stateless, **options)
        permits = Semaphore(self._commons, name, cls.instances, make_share=Permit)
        options["says_ready"] = False  # it may wait for a permit for ever, and is ready for one
        return ActivePassiveRunner(name, stateless.live, None, stateless, election=permits, **options)

    def _stateful(self, declaration: Declaration, coordinator: Coordinator, options: dict[str, Any]) -> Runner:
        from locum.state.database import opened

        name, cls = declaration.name, declaration.what
        replicas = Replicas(
            self._commons,
            name,
            cls.partitions,
            replicas=cls.replicas,
            join_delay=cls.join_delay,
            rebalance_delay=cls.rebalance_delay,
        )
        return StatefulRunner(
            name,
            partial(self._plan.container.build, cls),
            replicas=replicas,
            database=partial(opened, self._settings.state_store_url, namespace=self._plan.name, clock=self.clock),
            store=self._commons.store,
            naming=coordinator.naming,
            limits=Limits(start=declaration.start_timeout, stop=declaration.stop_timeout),
            least=cls.least_replicas,
            **options,
        )

    def _consumer(self, declaration: Declaration, what: Any) -> Consumer:
        is_class = isinstance(what, ConsumerService)
        queue = queue_of(declaration)
        if queue is not None:
            queue.open()
        handler = what.handle if is_class else what

        async def open_source(call: Callable[..., Awaitable[object]]) -> Any:
            return what.source() if is_class else await open_given(declaration.source, call)

        return Consumer(
            declaration.name,
            open_source,
            Delivery.taken_by(handler, typing.get_type_hints(handler)),
            workers=declaration.workers,
            drains=queue is not None,
            surroundings=self,
        )

    def _crew(self, roster: Roster) -> Crew:
        from locum.jobs.crew import Crew

        commons = self._commons
        crew = Crew(
            roster,
            self._settings.job_store_url,
            store=commons.store,
            leases=commons.leases,
            surroundings=self,
            fences=commons.fences,
        )
        self._events.on(InstanceLost, lambda _: crew.hurry())
        return crew

    async def _publish(self, coordinator: Coordinator, leases: LeaseSource) -> None:
        """Show the services' modes in the store: changes that come together are one write."""
        while True:
            await self._modes_changed.wait()
            await self.clock.sleep(0.05)
            self._modes_changed.clear()
            try:
                # what is shown goes with the session: when that is lost, it is shown again under the next one
                (await leases.lease()).on_end(self._show_again)
                await coordinator.publish(self._modes)
            except LocumError as error:
                _log.debug("the modes were not shown: %s", error)
                self._modes_changed.set()
                await self.clock.sleep(0.5)

    def _show_again(self, why: str) -> None:
        del why
        self._modes_changed.set()


def _resting(policy: Restart) -> Resting:
    """What becomes of a shard that fails, by the service's `restart`."""
    most = 0 if policy.when == "never" else policy.most
    return Resting(first=policy.first, last=policy.last, most=most, healthy_after=policy.healthy_after)
