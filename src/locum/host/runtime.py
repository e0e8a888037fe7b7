"""Running what a host declares: the surroundings of its services, whoever keeps the session.

How a run begins and ends differs: under a keeper process it is the worker's whole life (`kept.py`), inside somebody
else's process it is a part of theirs (`embedded.py`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.clock import Clock
from locum.context import Context
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.coordination.fence import Fence, fence_of
from locum.coordination.term import Term
from locum.errors import ConfigurationError, LocumError, StartError, StopTimeoutError
from locum.host.lifecycle import start_all, stop_all
from locum.host.plan import hooks_of
from locum.keeper.budget import Budget
from locum.logs import bound
from locum.registry import make_store, open_when_there, without_secrets
from locum.services.active_passive import ActivePassiveRunner, ActivePassiveService, Standby
from locum.services.background import BackgroundRunner
from locum.telemetry import Events, logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from locum.host.plan import Declaration, Plan
    from locum.host.settings import Settings
    from locum.keeper.lease import LeaseSource
    from locum.scopes import Scope
    from locum.service import Mode, Runner
    from locum.store import Store
    from locum.telemetry import Event

__all__ = ["Runtime"]

_log = logger("host")
_ROLES = {Term: "active", Standby: "passive"}


class Runtime(ABC):
    """One run of a host.

    Args:
        plan: What it runs.
        settings: As the environment overrides them.
        instance: The instance's name.

    Raises:
        ConfigurationError: What was declared cannot run.
    """

    def __init__(self, plan: Plan, settings: Settings, instance: str) -> None:
        if not plan.declarations:
            raise ConfigurationError(f"the host {plan.name} has no services: host.add(...) one before it runs")
        plan.container.check([body for one in plan.declarations for body in one.bodies])
        self._plan, self._settings = plan, settings
        self.instance = instance
        self.clock = Clock()
        self.ttl = Budget.of_seconds(settings.ttl).ttl
        self._modes: dict[str, dict[str, object]] = {}
        self._modes_changed = asyncio.Event()
        self._fences: list[Fence] = []
        self._attempts: Counter[tuple[str, str]] = Counter()

    @abstractmethod
    def fail(self, why: str, code: int) -> None:
        """End this process, or what of it may be ended: something overlaps, or cannot be ended otherwise."""

    @abstractmethod
    def stopped(self, errors: list[Exception]) -> None:
        """The services were stopped; what went wrong then."""

    # -- what services ask of their host

    def tell(self, event: Event) -> None:
        """Tell an event."""
        self._events.tell(event)

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """Show what a service does now."""
        self._modes[service] = {"mode": mode.value, "token": token, "since": self.clock.wall().isoformat()}
        self._modes_changed.set()

    async def call(self, function: Callable[..., object], *given: object) -> object:
        """Call a body with what it asks for by type, a plain one in a thread of its own."""
        with self._line_of(*given):
            return await self._plan.container.call(function, *given)

    def _line_of(self, *given: object) -> AbstractContextManager[None]:
        """What the lines of one run belong to."""
        context = next((one for one in given if isinstance(one, Context)), None)
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

    # -- for those who begin and end it

    def events(self, scope: Scope) -> Events:
        """Where events are told, with the user's handlers."""

        def spawn(coroutine: Coroutine[Any, Any, object], name: str) -> object:
            return scope.spawn(coroutine, name=name)

        self._events = Events(self.instance, spawn)
        self._plan.configuration.spawn_with(spawn)
        for kind, handler in self._plan.handlers:
            self._events.on(kind, handler)
        return self._events

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
        coordinator = Coordinator(Commons(store, leases, events=self._events, fences=lambda: self._fences))
        try:
            await coordinator.open()
            publishing = scope.spawn(self._publish(coordinator, leases), name="modes of the services")
            scope.spawn(self._plan.configuration.watch(self.clock), name="changes of the settings")
            runners = await self._start(coordinator)
            _log.info(
                "%s of %s runs %s on %s%s, TTL %g s.",
                self.instance,
                self._plan.name,
                ", ".join(one.name for one in self._plan.declarations),
                without_secrets(self._settings.store_url),
                " (one machine only)" if coordinator.one_machine else "",
                self._settings.ttl,
            )
            try:
                yield
            finally:
                _log.info("%s stops.", self.instance)
                errors = await stop_all(runners, "was stopped")
                await self._plan.container.close()
                for error in errors:
                    if not isinstance(error, StopTimeoutError):  # who told it already
                        _log.error("%s", error)
                self.stopped(errors)
                publishing.cancel()
        finally:
            await coordinator.close(patience=budget.call_seconds)
            await store.close()

    # -- inside

    async def _start(self, coordinator: Coordinator) -> list[Runner]:
        runners: list[Runner] = []
        try:
            for target in self._plan.fences:
                self._fences.append(
                    fence_of(await self._plan.container.get(target) if isinstance(target, type) else target)
                )
            for declaration in self._plan.declarations:
                runners.append(await self._runner(declaration, coordinator))
            await start_all(runners)
        except BaseException:
            await self._plan.container.close()
            raise
        return runners

    async def _runner(self, declaration: Declaration, coordinator: Coordinator) -> Runner:
        what = declaration.what
        if isinstance(what, type):
            try:
                what = await self._plan.container.build(what)
            except ConfigurationError:
                raise
            except Exception as error:
                raise StartError(declaration.name, f"it could not be built: {type(error).__name__}: {error}") from error
        hooks = hooks_of(what)
        if declaration.kind == "background":
            return BackgroundRunner(
                declaration.name,
                what.run if hooks else what,
                hooks,
                surroundings=self,
                stop_timeout=declaration.stop_timeout,
            )
        return ActivePassiveRunner(
            declaration.name,
            what.run_active if hooks else self._repeated(what, declaration.every),
            what.run_passive if hooks and type(what).run_passive is not ActivePassiveService.run_passive else None,
            hooks,
            election=coordinator.election(declaration.name),
            surroundings=self,
            stop_timeout=declaration.stop_timeout,
        )

    def _repeated(self, function: Any, every: float | None) -> Callable[..., object]:
        if every is None:
            return function  # type: ignore[no-any-return]

        async def repeat(term: Term) -> None:
            async with self._plan.container.run() as call:
                async for _ in term.every(every):
                    await call(function, term)

        repeat.__annotations__["term"] = Term
        return repeat

    async def _publish(self, coordinator: Coordinator, leases: LeaseSource) -> None:
        """Show the services' modes in the store: changes that come together are one write."""
        while True:
            await self._modes_changed.wait()
            await self.clock.sleep(0.05)
            self._modes_changed.clear()
            # what is shown goes with the session: when that is lost, it is shown again under the next one
            (await leases.lease()).on_end(self._show_again)
            try:
                await coordinator.publish(self._modes)
            except LocumError as error:
                _log.debug("the modes were not shown: %s", error)
                self._modes_changed.set()
                await self.clock.sleep(0.5)

    def _show_again(self, why: str) -> None:
        del why
        self._modes_changed.set()
