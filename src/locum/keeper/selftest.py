"""Whether the kernel does here what the keeper builds on, tried out with real processes.

The trials run in a process of their own (`python -m locum.keeper.selftest`), which has one thread and may fork, and use
the keeper's own calls: `KillTimer`, `die_with_parent`, `become_subreaper`, and pidfd as the witness does. None of them
looks at /proc, which may show another pid namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from locum.clock import NANOSECONDS, Clock, nanoseconds, seconds
from locum.errors import UnsupportedError
from locum.keeper import kernel
from locum.keeper.timer import KillTimer

__all__ = ["NAMES", "Trial", "run_trials"]

_PATIENCE: Final = 2.0  # seconds after which what should take a millisecond has not happened
_LEADS: Final = (0.04, 0.4)  # seconds from arming a timer to its instant: the second where the first was too short
_CLOCK: Final = Clock()


Say = Callable[[object], object]
"""How a process of a trial says a line."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one trial.

    Attributes:
        passed: Whether the kernel did it.
        late: Nanoseconds that it took; `None` where nothing was timed, or it did not happen.
        why: Why it did not pass, in words; empty if it did.
    """

    passed: bool
    late: int | None = None
    why: str = ""


def run_trials(*, timeout: float = 15.0) -> dict[str, Trial]:
    """Run all trials, each name of `NAMES` once; takes some 0.3 s.

    Args:
        timeout: Seconds after which they are given up.

    Raises:
        OSError: They could not be started.
        TimeoutError: They did not come to an end.
        ValueError: They broke off without an answer.
    """
    command = [sys.executable, "-P", "-m", "locum.keeper.selftest"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"they did not end within {timeout:g} s") from None
    try:
        found = {name: Trial(**fields) for name, fields in json.loads(done.stdout).items()}
        return {name: found[name] for name in NAMES}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ValueError(f"they ended with code {done.returncode}: {last[0]}") from error


# -- the trials --------------------------------------------------------------------------------------------------


def _subreaper() -> Trial:
    """An orphan comes to the subreaper above it, who can reap it."""
    kernel.become_subreaper()

    def leave_an_orphan(say: Say) -> None:
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.pause()
        say(child)

    parent = _Child(leave_an_orphan)
    orphan = int(parent.hear())
    os.waitpid(parent.pid, 0)
    os.kill(orphan, signal.SIGKILL)
    try:
        os.waitpid(orphan, 0)
    except ChildProcessError:
        return Trial(False, why="an orphaned process did not come to the process that had asked for it")
    return Trial(True)


def _pidfd() -> Trial:
    """A pidfd fires when its process dies, and not before."""
    child = _Child(_wait)
    child.hear()
    fd = os.pidfd_open(child.pid)
    try:
        early = _fires(fd, 0)
        killed = _CLOCK.now()
        os.kill(child.pid, signal.SIGKILL)
        fired = _fires(fd, nanoseconds(_PATIENCE))
        late = _CLOCK.now() - killed
    finally:
        os.close(fd)
        child.reap()
    if early:
        return Trial(False, why="it told the death of a process that lived")
    return Trial(True, late) if fired else Trial(False, why=f"it did not tell a death within {_PATIENCE:g} s")


def _parent() -> Trial:
    """A process that asked for it dies when its parent is killed."""

    def begin_a_worker(say: Say) -> None:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            kernel.die_with_parent(parent)
            say(os.getpid())
        signal.pause()

    parent = _Child(begin_a_worker)
    worker = int(parent.hear())
    killed = _CLOCK.now()
    os.kill(parent.pid, signal.SIGKILL)
    is_gone = parent.is_gone(nanoseconds(_PATIENCE))  # both hold the pipe: it ends with the last of them
    late = _CLOCK.now() - killed
    parent.reap()
    if not is_gone:
        os.kill(worker, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # without a subreaper it goes elsewhere
        os.waitpid(worker, 0)
    return Trial(True, late) if is_gone else Trial(False, why="a worker lived on after its keeper was killed")


def _stopped() -> Trial:
    """The timer kills a process that is stopped, and stays so."""
    for lead in _LEADS:
        child = _Child(functools.partial(_stop, lead))
        instant = int(child.hear())
        found = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is not None and found.si_code == os.CLD_STOPPED:
            return _killed_by_timer(child, instant)
        child.reap()  # the machine is busy, and its timer came before its stop
    return Trial(False, why="the machine is too busy to try it: a process could not stop itself before its instant")


def _held() -> Trial:
    """The timer kills a process whose interpreter a C call holds."""

    def hold(say: Say) -> None:
        sleep = ctypes.PyDLL(None).sleep  # PyDLL keeps the interpreter's lock during the call
        _arm(say, _LEADS[0])
        sleep(60)

    child = _Child(hold)
    return _killed_by_timer(child, int(child.hear()))


_TRIALS: Final = {"subreaper": _subreaper, "pidfd": _pidfd, "parent": _parent, "stopped": _stopped, "held": _held}
NAMES: Final = tuple(_TRIALS)
"""The names of the trials."""


# -- their pieces ------------------------------------------------------------------------------------------------


class _Child:
    """A forked child, and a pipe that it and its own children hold until they end."""

    def __init__(self, work: Callable[[Say], object]) -> None:
        self._pipe, theirs = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                with contextlib.suppress(OSError, UnsupportedError):
                    kernel.die_with_parent(parent)  # so that nothing is left if the trials are given up
                work(lambda word: os.write(theirs, f"{word}\n".encode()))
            except BaseException as error:
                os.write(theirs, f"!{_words(error)}\n".encode())
            finally:
                os._exit(0)
        os.close(theirs)

    def hear(self) -> str:
        """The line that it says.

        Raises:
            RuntimeError: It failed instead.
        """
        line = b""
        while not line.endswith(b"\n"):
            if not (part := os.read(self._pipe, 1)):
                break
            line += part
        text = line.decode().strip()
        if not text or text.startswith("!"):
            self.reap()
            raise RuntimeError(text.removeprefix("!") or "a process of the trial ended without a word")
        return text

    def is_gone(self, within: int) -> bool:
        """Wait (ns) until it and its children are gone."""
        return _fires(self._pipe, within)

    def reap(self) -> int:
        """Kill it if it lives; its wait status."""
        os.kill(self.pid, signal.SIGKILL)  # not reaped yet: nobody else has its pid
        os.close(self._pipe)
        return os.waitpid(self.pid, 0)[1]


def _wait(say: Say) -> None:
    say("ready")
    signal.pause()


def _stop(lead: float, say: Say) -> None:
    _arm(say, lead)
    os.kill(os.getpid(), signal.SIGSTOP)


def _arm(say: Say, lead: float) -> None:
    timer = KillTimer()
    instant = _CLOCK.now() + nanoseconds(lead)
    timer.arm(instant)
    say(instant)


def _killed_by_timer(child: _Child, instant: int) -> Trial:
    is_gone = child.is_gone(max(0, instant - _CLOCK.now()) + nanoseconds(_PATIENCE))
    late = _CLOCK.now() - instant
    status = child.reap()
    if not is_gone:
        return Trial(False, why=f"it did not kill within {_PATIENCE:g} s after its instant")
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        return Trial(False, why=f"the process ended otherwise (wait status {status})")
    if late < 0:
        return Trial(False, why=f"it killed {seconds(-late) * 1000:.1f} ms before its instant")
    return Trial(True, late)


def _words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or repr(error)


def _fires(fd: int, within: int) -> bool:
    """Whether a descriptor becomes readable, or the other end of a pipe is closed, within so long (ns)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(within * 1000 / NANOSECONDS))


def _all() -> dict[str, Trial]:
    found = {}
    for name, trial in _TRIALS.items():
        try:
            found[name] = trial()
        except Exception as error:  # a call that is not there at all, too
            found[name] = Trial(False, why=_words(error))
    return found


if __name__ == "__main__":
    json.dump({name: asdict(trial) for name, trial in _all().items()}, sys.stdout)
