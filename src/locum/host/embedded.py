"""A host inside one process: its keeper is a thread. For `host.run(embedded=True)`, and for web applications."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from locum import exit_codes
from locum.errors import ConfigurationError, SchemaError, StartError, StopTimeoutError
from locum.host.process import leave, set_logging_up
from locum.host.runtime import Runtime
from locum.identity import ProcessId
from locum.keeper.control import STOP_SIGNALS
from locum.keeper.thread import KeeperThread
from locum.scopes import Scope, run
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
        _log.error("%s", failure, exc_info=failure.__cause__)
        code = exit_codes.SERVICE_FAILED
    leave(code)


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[None]:
    """Run a host's services beside somebody else's code for the length of the block."""
    async with _Embedded(plan).serving():
        yield


async def _run(plan: Plan) -> int:
    host = _Embedded(plan)
    host.owns_process = True
    told_to_stop = asyncio.Event()
    signals: list[int] = []

    def hear(number: int) -> None:
        signals.append(number)
        if len(signals) > 1:
            leave(exit_codes.forced_by(number))
        told_to_stop.set()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            loop.add_signal_handler(number, hear, number)
    async with Scope(f"signals of {plan.name}", on_error=_told_by_result) as scope:
        stop = scope.spawn(told_to_stop.wait(), name="stop")
        serve = scope.spawn(_serve_until(host, told_to_stop), name="services")
        await asyncio.wait([stop, serve], return_when=asyncio.FIRST_COMPLETED)
        if not host.is_up and not serve.done():
            return exit_codes.CLEAN  # told to stop before it had a session
        await asyncio.wait([serve])
        serve.result()
        if host.code == exit_codes.WOULD_NOT_STOP:
            leave(host.code)  # what would not stop does not let the loop end either
    return host.code


def _told_by_result(task: str, error: BaseException) -> None:
    """Whoever waits for the task has its error, which stands for an exit code."""


async def _serve_until(host: _Embedded, told_to_stop: asyncio.Event) -> None:
    async with host.serving():
        await told_to_stop.wait()


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
        async with Scope(self._plan.name, on_error=self._on_error) as scope:
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

    def fail(self, why: str, code: int) -> None:
        """With `kill`, end this process; with `cancel` it goes on, and what would not end counts as ended (R19)."""
        if code == exit_codes.FENCED:
            return  # it has ended in time; nobody above us would start us again
        _log.error("%s: %s", self.instance, why)
        if self._enforcement == "kill" or (self.owns_process and code == exit_codes.SERVICE_FAILED):
            leave(code)

    def stopped(self, errors: list[Exception]) -> None:
        """The exit code of what went wrong while the services were stopped."""
        if any(isinstance(error, StopTimeoutError) for error in errors):
            self.code = exit_codes.WOULD_NOT_STOP
            if self._enforcement == "kill":
                leave(self.code)
        elif errors:
            self.code = exit_codes.SERVICE_FAILED

    def _on_error(self, task: str, error: BaseException) -> None:
        _log.error("%s failed", task, exc_info=error)
