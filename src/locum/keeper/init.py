"""A small init for where we are PID 1: it stays behind, reaps strays and passes signals on.

PID 1 ignores the signals that it sends to itself, and so its own kill timer: keeper and worker must be its descendants.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from locum import exit_codes

__all__ = ["become_init"]

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


def become_init() -> None:
    """Fork: the child returns and becomes the keeper, the parent stays as init and leaves with the child's exit code.

    To be called while the process has one thread.
    """
    keeper = os.fork()
    if keeper == 0:
        return
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _frame: os.kill(keeper, received))
    while True:
        pid, status = os.wait()  # strays are ours too
        if pid == keeper:
            code = os.waitstatus_to_exitcode(status)
            os._exit(exit_codes.forced_by(-code) if code < 0 else code)
