"""What signals ask of a process that runs a host.

The first SIGTERM or SIGINT asks for the stop in order, the second one cancels what is ending by itself, the third one
leaves at once. SIGHUP reloads what can be. SIGUSR1 writes the stacks of all threads, also if the event loop does not
turn, and those of all tasks as soon as it does.
"""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

from locum import exit_codes
from locum.host.process import leave
from locum.keeper.control import DUMP_SIGNAL, RELOAD_SIGNAL, STOP_SIGNALS
from locum.services.standing import stacks_of
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["Signals", "dump_threads_on_signal"]

_log = logger("host.signals")


class Signals:
    """The signals of one run.

    Args:
        stop: Asks for the stop in order.
        hurry: Cancels what is ending by itself.
        on_reload: What is called (plain or async) to reload, in order; one that fails is logged and harms nobody.
        spawn: Starts the task of a reload, given its coroutine and a name.
        reloading: Entered for the length of a reload, to tell of it.
    """

    def __init__(
        self,
        *,
        stop: Callable[[], object],
        hurry: Callable[[], object],
        on_reload: Sequence[Callable[[], object]],
        spawn: Callable[[Coroutine[Any, Any, object], str], object],
        reloading: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._stop, self._hurry, self._on_reload, self._spawn = stop, hurry, on_reload, spawn
        self._reloading = reloading
        self._stops = 0

    def hear(self) -> None:
        """From now on; what the process was started to ignore stays ignored: nohup means it."""
        loop = asyncio.get_running_loop()
        for number in (*STOP_SIGNALS, RELOAD_SIGNAL):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_stop if number in STOP_SIGNALS else self._reload, number)
        faulthandler.unregister(DUMP_SIGNAL)
        loop.add_signal_handler(DUMP_SIGNAL, _dump_tasks)
        dump_threads_on_signal(chain=True)

    def _on_stop(self, number: int) -> None:
        self._stops += 1
        if self._stops == 1:
            self._stop()
        elif self._stops == 2:
            _log.warning("told to stop a second time: what is ending by itself is cancelled")
            self._hurry()
        else:
            leave(exit_codes.forced_by(number))

    def _reload(self, number: int) -> None:
        del number
        _log.info("told to reload")
        self._spawn(self._reload_all(), "reload")

    async def _reload_all(self) -> None:
        with self._reloading():
            for hook in self._on_reload:
                try:
                    result = hook()
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    _log.exception("a reload failed")


def dump_threads_on_signal(*, chain: bool = False) -> None:
    """Have the stacks of all threads written when the signal for it comes, by the kernel's hand: no loop need turn.

    Args:
        chain: Call what handled it before too.
    """
    faulthandler.register(DUMP_SIGNAL, all_threads=True, chain=chain)
    signal.siginterrupt(DUMP_SIGNAL, False)  # chained, it would interrupt system calls of whoever is looked at


def _dump_tasks() -> None:
    signal.siginterrupt(DUMP_SIGNAL, False)  # faulthandler has just registered itself anew
    _log.warning("All tasks:\n%s", stacks_of(sorted(asyncio.all_tasks(), key=lambda task: task.get_name())))
