"""Running what a host declares, in the worker, under its keeper."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.clock import Clock, seconds
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.coordination.fence import Fence, fence_of
from locum.errors import ConfigurationError, LocumError, StartError, StopTimeoutError, StoreError
from locum.host.lifecycle import start_all, stop_all
from locum.host.plan import hooks_of
from locum.keeper.budget import Budget
from locum.keeper.control import Hello, WorkerEnd
from locum.keeper.link import KeeperGoneError, KeeperLink
from locum.registry import make_store, without_secrets
from locum.scopes import Backoff, Scope, run
from locum.service import Mode
from locum.services.active_passive import ActivePassiveRunner, ActivePassiveService
from locum.services.background import BackgroundRunner
from locum.telemetry import Events, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.host.plan import Declaration, Plan
    from locum.service import Runner
    from locum.store import Store
    from locum.telemetry import Event

__all__ = ["work"]

_log = logger("host")
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def work(plan: Plan, end: WorkerEnd) -> None:
    """Run a host's services under a keeper; does not return."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
        )
        logging.getLogger("locum").setLevel(logging.INFO)
    try:
        code = run(_Worker(plan, end).run())
    except ConfigurationError as error:
        _log.error("%s cannot run: %s", plan.name, error)
        code = exit_codes.BAD_CONFIGURATION
    except KeeperGoneError:
        code = exit_codes.FENCED
    leave(code)


def leave(code: int) -> None:
    """End this process now; what the user's threads still do must not hold it."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it is gone
    os._exit(code)


class _Worker:
    """One run of a host: the surroundings of its services."""

    def __init__(self, plan: Plan, end: WorkerEnd) -> None:
        self._plan, self._end = plan, end
        self._settings = plan.settings.with_environment()
        self.instance = self._settings.instance_under(end.keeper)
        self.clock = Clock()
        self._modes: dict[str, dict[str, object]] = {}
        self._modes_changed = asyncio.Event()
        self._told_to_stop = asyncio.Event()
        self._fences: list[Fence] = []

    async def run(self) -> int:
        """Run until told to stop; the exit code."""
        plan, settings = self._plan, self._settings
        if not plan.declarations:
            raise ConfigurationError(f"the host {plan.name} has no services: host.add(...) one before host.run()")
        plan.container.check(
            [one.what for one in plan.declarations if not isinstance(one.what, type) and hooks_of(one.what) is None]
        )
        loop = asyncio.get_running_loop()
        async with Scope(plan.name, on_error=self._on_error) as scope:
            self._events = Events(self.instance, lambda coroutine, name: scope.spawn(coroutine, name=name))
            for kind, handler in plan.handlers:
                self._events.on(kind, handler)
            link = KeeperLink(self._end, clock=self.clock, scope=scope, events=self._events)
            for number in _STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                    loop.add_signal_handler(number, self._told_to_stop.set)
            hello = Hello(
                instance=self.instance,
                store=settings.store_url,
                namespace=plan.name,
                ttl=Budget.of_seconds(settings.ttl).ttl,
                stop_timeout=sum(one.stop_timeout for one in plan.declarations),
                hang_timeout=settings.hang_timeout,
            )
            opening = scope.spawn(link.open(hello), name="start gate")
            stop = scope.spawn(self._told_to_stop.wait(), name="stop")
            await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return exit_codes.CLEAN
            lease = opening.result()
            scope.spawn(self._show_that_we_turn(link, lease.budget), name="turns of the loop")
            store = await self._open_store(hello, lease.budget)
            commons = Commons(store, link, events=self._events, fences=lambda: self._fences)
            coordinator = Coordinator(commons)
            await coordinator.open()
            scope.spawn(self._publish(coordinator, link), name="modes of the services")
            try:
                return await self._run_services(coordinator, link)
            finally:
                await coordinator.close(patience=lease.budget.call_seconds)
                await store.close()

    # -- what services ask of their host

    def tell(self, event: Event) -> None:
        """Tell an event."""
        self._events.tell(event)

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """Show what a service does now."""
        self._modes[service] = {"mode": mode.value, "token": token, "since": self.clock.wall().isoformat()}
        self._modes_changed.set()

    def fail(self, why: str, code: int) -> None:
        """End this process, at once unless it ends anyway; the keeper ends what it leaves behind."""
        _log.warning("%s ends its worker: %s", self.instance, why)
        if not self._told_to_stop.is_set() or code == exit_codes.FENCED:
            leave(code)

    async def call(self, function: Callable[..., Awaitable[object]], *given: object) -> object:
        """Call a body with what it asks for by type."""
        return await self._plan.container.call(function, *given)

    # -- inside

    async def _run_services(self, coordinator: Coordinator, link: KeeperLink) -> int:
        runners: list[Runner] = []
        try:
            for target in self._plan.fences:
                self._fences.append(
                    fence_of(await self._plan.container.get(target) if isinstance(target, type) else target)
                )
            for declaration in self._plan.declarations:
                runners.append(await self._runner(declaration, coordinator))
            await start_all(runners)
        except StartError as failure:
            _log.error("%s", failure, exc_info=failure.__cause__)
            await self._plan.container.close()
            return exit_codes.SERVICE_FAILED
        link.started()
        _log.info(
            "%s of %s runs %s on %s%s, TTL %g s.",
            self.instance,
            self._plan.name,
            ", ".join(one.name for one in self._plan.declarations),
            without_secrets(self._settings.store_url),
            " (one machine only)" if coordinator.one_machine else "",
            self._settings.ttl,
        )
        await self._told_to_stop.wait()
        _log.info("%s stops.", self.instance)
        errors = await stop_all(runners, "was stopped")
        await self._plan.container.close()
        for error in errors:
            _log.error("%s", error)
        if any(isinstance(error, StopTimeoutError) for error in errors):
            leave(exit_codes.WOULD_NOT_STOP)  # what would not stop does not let the loop end either
        return exit_codes.SERVICE_FAILED if errors else exit_codes.CLEAN

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

    def _repeated(self, function: Any, every: float | None) -> Callable[..., Awaitable[object]]:
        if every is None:
            return function  # type: ignore[no-any-return]
        from locum.coordination.term import Term

        async def repeat(term: Term) -> None:
            async with self._plan.container.run() as call:
                async for _ in term.every(every):
                    await call(function, term)

        repeat.__annotations__["term"] = Term
        return repeat

    async def _open_store(self, hello: Hello, budget: Budget) -> Store:
        store = make_store(hello.store, namespace=hello.namespace, clock=self.clock)
        store.call_timeout = budget.call_seconds
        backoff = Backoff(0.05, 1.0)
        while True:
            try:
                await store.open()
            except StoreError as error:
                _log.debug("%s", error)
                await self.clock.sleep(backoff.delay())
            else:
                return store

    async def _show_that_we_turn(self, link: KeeperLink, budget: Budget) -> None:
        while True:
            link.turned()
            await self.clock.sleep(seconds(budget.ttl) / 8)

    async def _publish(self, coordinator: Coordinator, link: KeeperLink) -> None:
        """Show the services' modes in the store: changes that come together are one write."""
        while True:
            await self._modes_changed.wait()
            await self.clock.sleep(0.05)
            self._modes_changed.clear()
            # what is shown goes with the session: when that is lost, it is shown again under the next one
            (await link.lease()).on_end(self._show_again)
            try:
                await coordinator.publish(self._modes)
            except LocumError as error:
                _log.debug("the modes were not shown: %s", error)
                self._modes_changed.set()
                await self.clock.sleep(0.5)

    def _show_again(self, why: str) -> None:
        del why
        self._modes_changed.set()

    def _on_error(self, task: str, error: BaseException) -> None:
        if isinstance(error, KeeperGoneError):
            leave(exit_codes.FENCED)
        _log.error("%s failed", task, exc_info=error)
        leave(exit_codes.BAD_CONFIGURATION if isinstance(error, ConfigurationError) else exit_codes.SERVICE_FAILED)
