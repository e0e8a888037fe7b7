"""Several instances on one machine: a small parent that starts keepers, and starts again what died by itself.

It has one thread and sleeps in the kernel until a signal comes: its children's ends are signals too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from locum import exit_codes
from locum.clock import Clock, nanoseconds, seconds
from locum.keeper.guardian import COMPLETED, CREW_VARIABLE
from locum.keeper.kernel import die_with_parent
from locum.scopes import Backoff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Crew"]

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (signal.SIGHUP, signal.SIGUSR1)
_HEARD: Final = frozenset({*_STOP_SIGNALS, *_PASSED_ON, signal.SIGCHLD})
_NEVER_AGAIN: Final = (exit_codes.CLEAN, exit_codes.USAGE, exit_codes.BAD_CONFIGURATION, exit_codes.WOULD_NOT_STOP)
_RESTART_FIRST, _RESTART_LAST = 0.5, 30.0
_HEALTHY_AFTER: Final = 10.0
_IDLE: Final = 3600.0


@dataclass(slots=True)
class _Member:
    """One instance.

    Attributes:
        name: Its name.
        environment: Its keeper's environment.
        pid: Its keeper's pid; `None` while none runs.
        begun: When that was started (boot clock, ns).
        due: When it is to be started (boot clock, ns); `None` if it is not.
        code: The exit code of its last life.
    """

    name: str
    environment: Mapping[str, str]
    pid: int | None = None
    begun: int = 0
    due: int | None = 0
    code: int = exit_codes.CLEAN
    backoff: Backoff = field(default_factory=lambda: Backoff(_RESTART_FIRST, _RESTART_LAST))


class Crew:
    """The instances that one command started.

    Args:
        environments: The environment of each instance's keeper, by the instance's name.
        keeper: The keepers' command line.
    """

    def __init__(self, environments: Mapping[str, Mapping[str, str]], keeper: Sequence[str]) -> None:
        self._members = [_Member(name, environment) for name, environment in environments.items()]
        self._keeper = list(keeper)
        self._clock = Clock()
        self._stopping = False

    def run(self) -> int:
        """Run until all have ended for good; the worst of their exit codes."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # they are waited for: none interrupts, none is lost
        while any(one.pid is not None or one.due is not None for one in self._members):
            for one in self._members:
                if one.due is not None and one.due <= self._clock.now():
                    self._start(one, before)
            heard = signal.sigtimedwait(_HEARD, self._until_next())
            if heard is not None and heard.si_signo != signal.SIGCHLD:
                self._pass_on(signal.Signals(heard.si_signo))
            self._reap()
        return max(one.code for one in self._members)

    def _start(self, one: _Member, mask: set[int]) -> None:
        # we have one thread, so code between fork and exec is sound, and the kernel takes its end for ours
        process = subprocess.Popen(
            self._keeper,
            env={**one.environment, CREW_VARIABLE: str(os.getpid())},
            process_group=0,  # the terminal's Ctrl-C comes to us alone: twice would be by force
            preexec_fn=partial(_be_a_child, os.getpid(), mask),
        )
        one.pid, one.begun, one.due = process.pid, self._clock.now(), None
        process.returncode = 0  # reaped here, by us, and not by Popen

    def _until_next(self) -> float:
        due = [one.due for one in self._members if one.due is not None]
        return max(0.0, seconds(min(due) - self._clock.now())) if due else _IDLE

    def _pass_on(self, number: signal.Signals) -> None:
        if number in _STOP_SIGNALS:
            self._stopping = True
            for one in self._members:
                if one.due is not None:
                    one.due, one.code = None, exit_codes.CLEAN
        for one in self._members:
            if one.pid is not None:
                os.kill(one.pid, number)  # not reaped yet: no other process can have this pid

    def _reap(self) -> None:
        """Reap what has ended; where we are PID 1, strays too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for one in self._members:
                if one.pid == pid:
                    self._on_end(one, os.waitstatus_to_exitcode(status))

    def _on_end(self, one: _Member, code: int) -> None:
        one.pid = None
        one.code = exit_codes.forced_by(-code) if code < 0 else code
        if self._stopping:
            if -code in _STOP_SIGNALS:
                one.code = exit_codes.CLEAN  # it had not yet taken the signals over
            return
        if code == COMPLETED:
            one.code = exit_codes.SERVICE_FAILED
        if code in (*_NEVER_AGAIN, COMPLETED):
            return
        if seconds(self._clock.now() - one.begun) > _HEALTHY_AFTER:
            one.backoff.reset()
        delay = one.backoff.delay()
        one.due = self._clock.now() + nanoseconds(delay)
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        _say(f"{one.name} {how}; it is started again in {delay:.1f} s.")


def _be_a_child(parent: int, mask: set[int]) -> None:
    if not die_with_parent(parent):
        os._exit(exit_codes.forced_by(signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _say(text: str) -> None:
    clock = Clock().wall().astimezone()
    sys.stderr.write(f"{clock:%H:%M:%S} {text}\n")
    sys.stderr.flush()
