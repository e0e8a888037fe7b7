"""A host under its keeper process: the run is the whole life of the worker, up to its exit code."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
from typing import TYPE_CHECKING

from locum import exit_codes
from locum.errors import ConfigurationError, StartError, StopTimeoutError
from locum.host.process import leave, set_logging_up
from locum.host.runtime import Runtime
from locum.keeper.control import STOP_SIGNALS, Hello, WorkerEnd
from locum.keeper.link import KeeperGoneError, KeeperLink
from locum.registry import load_driver
from locum.scopes import Scope, run
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.host.plan import Plan

__all__ = ["work"]

_log = logger("host")


def work(plan: Plan, end: WorkerEnd) -> None:
    """Run a host's services under a keeper; does not return."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    set_logging_up(plan, end.keeper)
    try:
        load_driver(plan.configuration.read().settings.store_url)
        code = run(_work(plan, end))
    except ConfigurationError as error:
        _log.error("%s cannot run: %s", plan.name, error)
        code = exit_codes.BAD_CONFIGURATION
    except KeeperGoneError:
        code = exit_codes.FENCED
    leave(code)


async def _work(plan: Plan, end: WorkerEnd) -> int:
    return await _Worker(plan, end).run()


class _Worker(Runtime):
    """One run of a host under its keeper, which ends what this process leaves behind."""

    def __init__(self, plan: Plan, end: WorkerEnd) -> None:
        settings = plan.configuration.load().settings
        super().__init__(plan, settings, settings.instance_under(end.keeper))
        self._end = end
        self._told_to_stop = asyncio.Event()
        self._code = exit_codes.CLEAN

    async def run(self) -> int:
        """Run until told to stop; the exit code."""
        loop = asyncio.get_running_loop()
        async with Scope(self._plan.name, on_error=self._on_error) as scope:
            link = KeeperLink(self._end, clock=self.clock, scope=scope, events=self.events(scope))
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                    loop.add_signal_handler(number, self._told_to_stop.set)
            hello = Hello(
                instance=self.instance,
                store=self._settings.store_url,
                namespace=self._plan.name,
                ttl=self.ttl,
                stop_timeout=sum(one.stop_timeout for one in self._plan.declarations),
                hang_timeout=self._settings.hang_timeout,
            )
            opening = scope.spawn(link.open(hello), name="start gate")
            stop = scope.spawn(self._told_to_stop.wait(), name="stop")
            await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return exit_codes.CLEAN
            opening.result()
            try:
                async with self.running(link, scope):
                    link.started()
                    await self._told_to_stop.wait()
            except StartError as failure:
                _log.error("%s", failure, exc_info=failure.__cause__)
                return exit_codes.SERVICE_FAILED
        return self._code

    def fail(self, why: str, code: int) -> None:
        """End this process, at once unless it ends anyway; the keeper ends what it leaves behind."""
        _log.warning("%s ends its worker: %s", self.instance, why)
        if not self._told_to_stop.is_set() or code == exit_codes.FENCED:
            leave(code)

    def stopped(self, errors: list[Exception]) -> None:
        """The exit code of what went wrong while the services were stopped."""
        if any(isinstance(error, StopTimeoutError) for error in errors):
            leave(exit_codes.WOULD_NOT_STOP)  # what would not stop does not let the loop end either
        self._code = exit_codes.SERVICE_FAILED if errors else exit_codes.CLEAN

    def _on_error(self, task: str, error: BaseException) -> None:
        if isinstance(error, KeeperGoneError):
            leave(exit_codes.FENCED)
        _log.error("%s failed", task, exc_info=error)
        leave(exit_codes.BAD_CONFIGURATION if isinstance(error, ConfigurationError) else exit_codes.SERVICE_FAILED)
