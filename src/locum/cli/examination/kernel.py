"""The kernel: is it the right one, and does it do what the keeper builds on? Tried out, not looked up."""

from __future__ import annotations

import platform
import re
import sys
from typing import TYPE_CHECKING, Final

from locum.cli.examination.finding import Finding, Level, Said, check
from locum.clock import seconds
from locum.keeper.selftest import NAMES, Trial, run_trials

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["findings", "judge"]

_LEAST_LINUX: Final = (5, 4)
_LEAST_PYTHON: Final = (3, 11)
_LATE: Final = 50.0  # milliseconds: what the shortest TTL has to spare between the worker's end and the keeper's
_ASKED: Final = {
    "stopped": ("Kernel timer, process stopped", "killed a stopped process {late} after its instant"),
    "held": ("Kernel timer, interpreter held", "killed a process in a C call {late} after its instant"),
    "parent": ("Death with the parent", "a worker died {late} after its parent was killed"),
    "pidfd": ("Notice of a death", "a pidfd told a death after {late}"),
    "subreaper": ("Adoption of orphans", "an orphan came to its subreaper, and could be reaped there"),
}
_ADVICE: Final = {
    "stopped": "the keeper cannot arm its timer: see `Timers and signals`; a seccomp profile may forbid timer_create",
    "held": "the keeper cannot arm its timer: see `Timers and signals`; a seccomp profile may forbid timer_create",
    "parent": "a seccomp profile may forbid prctl, or this is no Linux kernel: run it elsewhere",
    "pidfd": "needs Linux 5.4 and a seccomp profile that allows pidfd_open",
    "subreaper": "a seccomp profile may forbid prctl, or this is no Linux kernel: run it elsewhere",
}


def findings() -> list[Finding]:
    """The platform, and what came of the kernel's trials."""
    return [_platform(), *_trials()]


@check("platform", "Platform")
def _platform() -> Said:
    return judge(platform.system(), platform.release(), sys.version_info[:3], platform.machine(), sys.maxsize > 2**32)


def judge(system: str, release: str, python: tuple[int, ...], machine: str, is_wide: bool) -> Said:
    """Whether Locum can run on such a platform.

    Args:
        system: The kernel's name.
        release: Its version, as it calls itself.
        python: The interpreter's version.
        machine: The processor.
        is_wide: Whether the interpreter has 64 bits.
    """
    fact = f"{system} {release}, Python {'.'.join(map(str, python))}, {machine}"
    if system != "Linux":
        return Said(Level.FAILS, fact, "keeper and timers need Linux: run it there")
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        return Said(Level.UNKNOWN, f"{fact}: this version of Linux is not readable")
    if tuple(map(int, numbers.groups())) < _LEAST_LINUX:
        return Said(Level.FAILS, fact, "needs Linux 5.4 or newer")
    if python < _LEAST_PYTHON:
        return Said(Level.FAILS, fact, "needs Python 3.11 or newer")
    if not is_wide:
        return Said(Level.FAILS, f"{fact}, 32 bits", "a deadline in shared memory needs 64 bits to be read whole")
    return Said(Level.HOLDS, fact)


def _trials() -> list[Finding]:
    trials: Mapping[str, Trial] | Exception
    try:
        trials = run_trials()
    except Exception as error:
        trials = error
    return [_trial(name, trials) for name in NAMES]


def _trial(name: str, trials: Mapping[str, Trial] | Exception) -> Finding:
    what, words = _ASKED[name]

    @check(name, what)
    def tried() -> Said:
        if isinstance(trials, Exception):
            raise trials
        trial = trials[name]
        if not trial.passed:
            return Said(Level.FAILS, trial.why, _ADVICE[name])
        late = seconds(trial.late or 0) * 1000
        fact = words.format(late=f"{late:.1f} ms")
        if late > _LATE:
            return Said(Level.WEAKER, fact, "the machine is overloaded: choose a longer TTL, or give it more")
        return Said(Level.HOLDS, fact)

    return tried()
