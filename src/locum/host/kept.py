"""A host under its keeper process: the run is the whole life of the worker, up to its exit code."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING

from locum import exit_codes
from locum.errors import ConfigurationError, StartError
from locum.host.lifecycle import would_not_stop
from locum.host.notify import Notifier
from locum.host.process import leave, set_logging_up, tell_failed_start
from locum.host.runtime import Runtime, StoppedWhileStartingError
from locum.host.signals import Signals, dump_threads_on_signal
from locum.identity import parent_of
from locum.keeper.control import Hello, WorkerEnd
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
    dump_threads_on_signal()
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
        self._code = exit_codes.CLEAN

    async def run(self) -> int:
        """Run until told to stop; the exit code."""
        notifier = Notifier.take(pids=(os.getpid(), self._end.keeper, parent_of(self._end.keeper) or 0))
        async with Scope(self._plan.name, on_error=self._on_error) as scope, self.reporting(scope, notifier):
            link = self._link = KeeperLink(self._end, clock=self.clock, scope=scope, events=self.events(scope))
            Signals(
                stop=self.end,
                hurry=self.hurry,
                on_reload=self._plan.on_reload,
                reloading=self.reloading,
                spawn=lambda work, name: scope.spawn(work, name=name),
            ).hear()
            hello = Hello(
                instance=self.instance,
                store=self._settings.store_url,
                namespace=self._plan.name,
                ttl=self.ttl,
                stop_timeout=self._plan.stop_limit(self._settings),
                hang_timeout=self._settings.hang_timeout,
            )
            opening = scope.spawn(link.open(hello), name="start gate")
            stop = scope.spawn(self.told_to_end.wait(), name="stop")
            await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return exit_codes.CLEAN
            opening.result()
            try:
                async with self.running(link, scope):
                    link.started()
                    gc.freeze()  # what a start has made stays, and is not to be looked through again and again
                    await self.told_to_end.wait()
            except StoppedWhileStartingError:
                return exit_codes.SERVICE_FAILED if self.failures else exit_codes.CLEAN
            except StartError as failure:
                return tell_failed_start(failure)
        return self._code

    def limit(self, *, stop_timeout: float, hang_timeout: float) -> None:
        """Tell the keeper."""
        self._link.limit(stop_timeout=stop_timeout, hang_timeout=hang_timeout)

    def complete(self) -> None:
        """Have the services stopped, and the keeper not begin anew."""
        self._link.completed()
        super().complete()

    def fail(self, why: str, code: int) -> None:
        """End this process, at once unless it ends anyway; the keeper ends what it leaves behind."""
        _log.warning("%s ends its worker: %s", self.instance, why)
        if not self.told_to_end.is_set() or code == exit_codes.FENCED:
            leave(code)

    def stopped(self, errors: list[Exception]) -> None:
        """The exit code of what went wrong while the services were stopped."""
        if any(map(would_not_stop, errors)):
            leave(exit_codes.WOULD_NOT_STOP)  # what would not stop does not let the loop end either
        self._code = exit_codes.SERVICE_FAILED if errors or self.failures else exit_codes.CLEAN

    def _on_error(self, task: str, error: BaseException) -> None:
        if isinstance(error, KeeperGoneError):
            leave(exit_codes.FENCED)
        _log.error("%s failed", task, exc_info=error)
        leave(exit_codes.BAD_CONFIGURATION if isinstance(error, ConfigurationError) else exit_codes.SERVICE_FAILED)
