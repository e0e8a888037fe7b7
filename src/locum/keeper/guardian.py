"""The guardian: a small process above the keeper, which ends what a keeper that was killed leaves behind.

The kernel kills the worker with its keeper, but not the worker's children. They come to the guardian, who ends them at
once: also where no other instance of the machine could do so as a witness. Where we are PID 1 it is the init besides:
it reaps strays, and keeps the keeper from being PID 1, which ignores its own timer.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from locum import exit_codes
from locum.keeper import kernel
from locum.keeper.processes import kill_children

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["stand_guard"]

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


def stand_guard() -> None:
    """Fork: the child returns and becomes the keeper, the parent stays as guardian and leaves with its exit code.

    To be called while the process has one thread.
    """
    guardian = os.getpid()
    kernel.become_subreaper()
    ready, go = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(go)
        os.read(ready, 1)  # until the guardian passes signals on: none must be lost in between
        os.close(ready)
        os.setpgid(0, 0)  # a terminal's Ctrl-C comes once, through the guardian, and not twice
        if not kernel.die_with_parent(guardian):
            os._exit(exit_codes.FENCED)
        return

    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(keeper, number)

    for number in _PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, pass_on)
    os.close(ready)
    os.close(go)
    while True:
        pid, status = os.wait()  # strays are ours too
        if pid == keeper:
            _end_what_is_left()
            code = os.waitstatus_to_exitcode(status)
            os._exit(exit_codes.forced_by(-code) if code < 0 else code)


def _end_what_is_left() -> None:
    while True:
        kill_children()
        try:
            os.wait()
        except ChildProcessError:
            return
