"""The guardian: a small process above the keeper, which ends what a keeper that was killed leaves behind.

The kernel kills the worker with its keeper, but not the worker's children. They come to the guardian, who ends them at
once: also where no other instance of the machine could do so as a witness. Where we are PID 1 it is the init besides:
it reaps strays, and keeps the keeper from being PID 1, which ignores its own timer.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from locum import exit_codes
from locum.keeper import kernel
from locum.keeper.processes import kill_children, reap

__all__ = ["COMPLETED", "CREW_VARIABLE", "is_of_a_crew", "stand_guard"]

CREW_VARIABLE: Final = "LOCUM_CREW"
"""The environment variable by which a keeper knows the parent that starts it again: the pid of that."""
COMPLETED: Final = 79
"""A keeper's exit code to such a parent, in the place of 1, where its host has ended as was declared: not again."""

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


def is_of_a_crew() -> bool:
    """Whether our parent starts us again; to be asked once, before `stand_guard`, by which the parent changes."""
    # taken out: a keeper that our own worker starts is nobody's
    return os.environ.pop(CREW_VARIABLE, None) == str(os.getppid())


def stand_guard(*, when_killed: int | None = None) -> None:
    """Fork: the child returns and becomes the keeper, the parent stays as guardian and leaves with its exit code.

    To be called while the process has one thread.

    Args:
        when_killed: The exit code where the keeper was killed; 128 + 9 if none is given.
    """
    guardian = os.getpid()
    kernel.become_subreaper()
    # blocked and then fetched: a handler of Python's does not run if its signal comes just before a wait that blocks
    passed_on = {number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}  # nohup means it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed_on, signal.SIGCHLD})
    keeper = os.fork()
    if keeper == 0:
        os.setpgid(0, 0)  # a terminal's Ctrl-C comes once, through the guardian, and not twice
        if not kernel.die_with_parent(guardian):
            os._exit(exit_codes.FENCED)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return
    while True:
        number = signal.sigwait({*passed_on, signal.SIGCHLD})
        if number != signal.SIGCHLD:
            os.kill(keeper, number)
            continue
        ended = reap() or {}  # strays are ours too
        if keeper in ended:
            _end_what_is_left()
            code = os.waitstatus_to_exitcode(ended[keeper])
            if code == -signal.SIGKILL and when_killed is not None:
                os._exit(when_killed)
            os._exit(exit_codes.forced_by(-code) if code < 0 else code)


def _end_what_is_left() -> None:
    while True:
        kill_children()
        try:
            os.wait()
        except ChildProcessError:
            return
