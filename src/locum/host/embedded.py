"""A host inside one process: its keeper is a thread. For `host.run(embedded=True)`, and for web applications."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from locum import exit_codes
from locum.errors import ConfigurationError, SchemaError, StartError
from locum.host.lifecycle import would_not_stop
from locum.host.notify import Notifier
from locum.host.process import leave, set_logging_up, tell_failed_start
from locum.host.runtime import Runtime, StoppedWhileStartingError
from locum.host.signals import Signals
from locum.identity import ProcessId
from locum.keeper.thread import KeeperThread
from locum.scopes import Scope, run, told_by_result
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.host.plan import Plan

__all__ = ["run_embedded", "running"]

_log = logger("host")


def run_embedded(plan: Plan) -> NoReturn:
    """Run a host's services in this process until it is told to stop; does not return."""
    set_logging_up(plan, os.getpid())
    try:
        code = run(_run(plan))
    except (ConfigurationError, SchemaError) as error:
        _log.error("%s cannot run: %s", plan.name, error)
        code = exit_codes.BAD_CONFIGURATION
    except StartError as failure:
        code = tell_failed_start(failure)
    leave(code)


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[None]:
    """Run a host's services beside somebody else's code for the length of the block."""
    host = _Embedded(plan)
    async with host.serving(), Scope(f"end of {plan.name}", on_error=told_by_result) as scope:
        scope.spawn(host.stop_when_told(), name="stop of the services")
        yield


async def _run(plan: Plan) -> int:
    host = _Embedded(plan)
    host.owns_process = True
    async with Scope(f"signals of {plan.name}", on_error=told_by_result) as scope:
        Signals(
            stop=host.end,
            hurry=host.hurry,
            on_reload=plan.on_reload,
            reloading=host.reloading,
            spawn=lambda work, name: scope.spawn(work, name=name),
        ).hear()
        stop = scope.spawn(host.told_to_end.wait(), name="stop")
        serve = scope.spawn(_serve_until_told(host), name="services")
        await asyncio.wait([stop, serve], return_when=asyncio.FIRST_COMPLETED)
        if not host.is_up and not serve.done():
            return exit_codes.CLEAN  # told to stop before it had a session
        await asyncio.wait([serve])
        serve.result()
        if host.code == exit_codes.WOULD_NOT_STOP:
            leave(host.code)  # what would not stop does not let the loop end either
    return exit_codes.SERVICE_FAILED if host.failures and host.code == exit_codes.CLEAN else host.code


async def _serve_until_told(host: _Embedded) -> None:
    try:
        async with host.serving():
            await host.told_to_end.wait()
    except StoppedWhileStartingError:
        pass  # as it should


class _Embedded(Runtime):
    """One run of a host inside a process that is not Locum's.

    Attributes:
        owns_process: Whether the process is there for the host alone, and may be ended with it.
        is_up: Whether it has a session.
        code: The exit code, where the process is the host's.
    """

    def __init__(self, plan: Plan) -> None:
        settings = plan.configuration.load().settings
        super().__init__(plan, settings, settings.instance_under(ProcessId.of_this_process().pid))
        self._enforcement = plan.enforcement or "cancel"
        self.owns_process = self.is_up = False
        self.code = exit_codes.CLEAN

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The whole road: a session, the services, and back."""
        # a process that is somebody else's speaks to systemd itself
        notifier = Notifier.take(pids=(os.getpid(),)) if self.owns_process else None
        async with Scope(self._plan.name, on_error=self._on_error) as scope, self.reporting(scope, notifier):
            self._keeper = KeeperThread(
                self.make_store,
                self.instance,
                self.ttl,
                enforcement=self._enforcement,
                hang_timeout=self._settings.hang_timeout,
                clock=self.clock,
                scope=scope,
                events=self.events(scope),
            )
            try:
                await self._keeper.open()
                self.is_up = True
                async with self.running(self._keeper, scope):
                    yield
            finally:
                await self._keeper.close()

    async def stop_when_told(self) -> None:
        """Stop the services when one of them ends the host: the application goes on."""
        await self.told_to_end.wait()
        await self._phases.stop("was stopped")

    def limit(self, *, stop_timeout: float, hang_timeout: float) -> None:
        """Tell the keeper, who lets a stop take its time here."""
        del stop_timeout
        self._keeper.limit(hang_timeout=hang_timeout)

    def fail(self, why: str, code: int) -> None:
        """With `kill`, end this process; with `cancel` it goes on, and what would not end counts as ended (R19)."""
        if code == exit_codes.FENCED:
            return  # it has ended in time; nobody above us would start us again
        _log.error("%s: %s", self.instance, why)
        if self._enforcement == "kill" or (self.owns_process and code == exit_codes.SERVICE_FAILED):
            leave(code)

    def stopped(self, errors: list[Exception]) -> None:
        """The exit code of what went wrong while the services were stopped."""
        if any(map(would_not_stop, errors)):
            self.code = exit_codes.WOULD_NOT_STOP
            if self._enforcement == "kill":
                leave(self.code)
        elif errors:
            self.code = exit_codes.SERVICE_FAILED

    def _on_error(self, task: str, error: BaseException) -> None:
        _log.error("%s failed", task, exc_info=error)
