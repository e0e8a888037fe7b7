"""The keeper as the worker's parent: keeps one instance running, one life of its worker after the other.

It imports nothing of the user's.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from locum import exit_codes
from locum.clock import Clock, seconds
from locum.errors import ConfigurationError, UnsupportedError
from locum.identity import sees_own_processes
from locum.keeper import kernel
from locum.keeper.complaint import Complaint
from locum.keeper.control import DUMP_SIGNAL, RELOAD_SIGNAL, STOP_SIGNALS
from locum.keeper.life import Life
from locum.keeper.memory import Memory
from locum.keeper.timer import KillTimer
from locum.registry import make_store, open_when_there
from locum.scopes import Backoff, happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.keeper.control import Hello
    from locum.keeper.life import End
    from locum.store import Store

__all__ = ["Keeper"]

_log = logger("keeper")
_RESTART_FIRST, _RESTART_LAST = 0.1, 5.0
_HEALTHY_AFTER: Final = 10.0
_GENTLE: Final = 2  # how often it may be told to stop before the worker is killed: in order, and by cancelling
_NEVER_AGAIN: Final = (exit_codes.CLEAN, exit_codes.USAGE, exit_codes.BAD_CONFIGURATION)


class Keeper:
    """Keeps one instance running until it is told to stop.

    Attributes:
        completed: Whether it ended because its host was declared to end: nothing is to begin anew.

    Args:
        command: The worker's command line.
        clock: Counts leases.
    """

    def __init__(self, command: Sequence[str], *, clock: Clock | None = None) -> None:
        self._command = list(command)
        self._clock = clock or Clock()
        self._life: Life | None = None
        self._stores: dict[tuple[str, str], Store] = {}
        self._signals: list[int] = []
        self._told_to_stop = asyncio.Event()
        self._had_terminal = kernel.has_terminal()
        self.completed = False

    async def run(self) -> int:
        """Run until the worker leaves for good or a signal asks for it.

        Returns:
            The exit code.
        """
        if not sees_own_processes():
            # without it neither a stopped worker nor what it leaves behind could be told from strangers
            _log.error(
                "/proc shows another pid namespace than this one: mount it (unshare --mount-proc), then start again"
            )
            return exit_codes.BAD_CONFIGURATION
        try:
            timer = KillTimer()
        except UnsupportedError as error:
            _log.error("no worker can be kept here: %s", error)
            return exit_codes.BAD_CONFIGURATION
        kernel.become_subreaper()
        loop = asyncio.get_running_loop()
        for number in (*STOP_SIGNALS, RELOAD_SIGNAL, DUMP_SIGNAL):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await self._lives(timer)
        finally:
            for store in self._stores.values():
                await store.close()

    async def _lives(self, timer: KillTimer) -> int:
        backoff = Backoff(_RESTART_FIRST, _RESTART_LAST)
        ever_started, memory = False, Memory()
        while True:
            begun = self._clock.now()
            self._life = Life(
                self._command,
                clock=self._clock,
                timer=timer,
                find_store=self._find_store,
                told_to_stop=self._told_to_stop.is_set,
                memory=memory,
            )
            end = await self._life.run()
            name, self._life, self.completed = self._life.name, None, end.completed
            if self._told_to_stop.is_set():
                return self._code_of_a_stop(end)
            ever_started = ever_started or end.started
            if end.code in _NEVER_AGAIN or (end.code > 0 and (end.completed or not ever_started)):
                return end.code
            if seconds(self._clock.now() - begun) > _HEALTHY_AFTER:
                backoff.reset()
            delay = backoff.delay()
            _log.warning("%s %s; its worker is started again in %.1f s.", name, end.why, delay)
            if await happens(self._told_to_stop.wait(), within=delay):
                return exit_codes.CLEAN

    def _code_of_a_stop(self, end: End) -> int:
        if len(self._signals) > _GENTLE:
            return exit_codes.forced_by(self._signals[-1])
        if -end.code in STOP_SIGNALS:
            return exit_codes.CLEAN  # it had not yet taken the signals over
        if end.code < 0:
            return exit_codes.forced_by(-end.code)
        return exit_codes.CLEAN if end.code == exit_codes.FENCED else end.code

    def _on_signal(self, number: int) -> None:
        if number == RELOAD_SIGNAL and self._had_terminal and not kernel.has_terminal():
            number = signal.SIGTERM  # it was hung up: nobody asks for a reload, and nobody could end us by Ctrl-C
        if number in STOP_SIGNALS:
            self._signals.append(number)
            self._told_to_stop.set()
        if self._life is not None:
            self._life.pass_on(number, force=number in STOP_SIGNALS and len(self._signals) > _GENTLE)

    async def _find_store(self, hello: Hello) -> Store:
        """The store that a worker named, opened as soon as it can be.

        Raises:
            ConfigurationError: It never can.
            SchemaError: It was written by a newer release.
        """
        found = self._stores.get((hello.store, hello.namespace))
        if found is not None:
            return found
        store = make_store(hello.store, namespace=hello.namespace, clock=self._clock)
        store.call_timeout = seconds(hello.ttl) / 6
        await open_when_there(store, clock=self._clock, told=Complaint(hello.instance, self._clock).tell)
        self._stores[hello.store, hello.namespace] = store
        if store.guarantees().one_process:
            raise ConfigurationError(
                f"the store {store.url} lives within one process, and a keeper is another one than its worker: use"
                " another store, or call run(embedded=True)"
            )
        return store
