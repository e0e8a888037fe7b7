"""Wall clocks that jump, for real processes: libfaketime, which reads from a file how far off a process's clock is."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.kit.cluster import Cluster
from tests.faults.kit.processes import state
from tests.faults.kit.rows import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from tests.faults.kit.cluster import Instance
    from tests.servers.server import Server

__all__ = ["AHEAD", "NEEDS_LIBFAKETIME", "JumpingClocks", "Reading", "steps"]

_PLACES: Final = ("usr/lib/*/faketime", "usr/lib*/faketime", "usr/local/lib*/faketime")
_FOUND: Final = next(chain.from_iterable(Path("/").glob(f"{place}/libfaketimeMT.so.1") for place in _PLACES), None)

NEEDS_LIBFAKETIME: Final = pytest.mark.skipif(
    os.environ.get("CI") != "true" and _FOUND is None, reason="not installed: libfaketime (make servers)"
)
"""For tests of jumping wall clocks; with CI=true they fail instead of being left out."""

AHEAD: Final = 3600
"""Seconds by which a clock is ahead, or behind after its next jump."""
_STEP: Final = 0.2
_NEAR: Final = 60 * 10**9
_SETTLED: Final = 2 * 10**9  # the first jump comes a step after the beginning, on a busy machine later


@dataclass(frozen=True, slots=True)
class Reading:
    """What one worker read from its clocks, at about one instant.

    Attributes:
        boot: The boot clock (ns).
        wall: The wall clock (ns).
    """

    boot: int
    wall: int

    @property
    def ahead(self) -> int:
        """By how much its wall clock was ahead of the tests' (ns), judged by the boot clock, which both share."""
        return self.wall - self.boot - (time.time_ns() - now())


class JumpingClocks(Cluster):
    """A cluster of which every keeper and every worker has a wall clock of its own: an hour ahead or behind.

    An instance that was started by itself has one for both. They are right until they begin to jump.
    """

    def __enter__(self) -> Self:
        assert _FOUND is not None, "libfaketime is not installed: make servers"
        self._offsets = self.folder / "offsets"
        self._offsets.mkdir()
        self._begun = 0
        self._over = threading.Event()
        self._jumping = threading.Thread(target=self._jump, name="jumps of the wall clocks")
        self._strangers = set(_left_behind())
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._begun:
            self._jumping.join()
        super().__exit__(*error)
        for file in set(_left_behind()) - self._strangers:
            file.unlink(missing_ok=True)

    def environment(self, name: str) -> dict[str, str]:
        """The environment of an instance, with a clock for its keeper."""
        return {**super().environment(name), **_ruled_by(self._clock(f"{name}-keeper"))}

    def worker_command(self, name: str, app: str) -> list[str]:
        """A worker, with a clock of its own."""
        clock = self._clock(f"{name}-worker")
        return ["env", f"FAKETIME_TIMESTAMP_FILE={clock}", *super().worker_command(name, app)]

    def begin_to_jump(self) -> None:
        """From now on each clock jumps by two hours, five times a second."""
        self._begun = now()
        self._jumping.start()

    def jumps(self, instance: Instance) -> int:
        """How often the wall clock of an instance's workers has jumped, as they themselves saw it.

        It fails where a wall clock was not an hour off, or where a boot clock jumped as well.
        """
        lines = Path(f"{self.rows.path}-{instance.name}").read_text().splitlines()[:-1]  # the last may be half written
        readings = [Reading(*map(int, line.split())) for line in lines]
        readings = [reading for reading in readings if reading.boot > self._begun + _SETTLED]
        for reading in readings:
            assert abs(abs(reading.ahead) - AHEAD * 10**9) < _NEAR, f"{instance.name} has read {reading}"
        boot = [*(reading.boot for reading in readings), now()]
        assert boot == sorted(boot), f"the boot clock of {instance.name} jumped as well"
        return sum(one.ahead * other.ahead < 0 for one, other in pairwise(readings))

    def _clock(self, whose: str) -> Path:
        file = self._offsets / whose
        if not file.exists():
            _set(file, self.random.choice((-AHEAD, AHEAD)) if self._begun else 0)
        return file

    def _jump(self) -> None:
        while not self._over.wait(_STEP):
            for file in self._offsets.glob("*er"):  # each keeper's, each worker's
                ahead = int(file.read_text())
                _set(file, -ahead or self.random.choice((-AHEAD, AHEAD)))


@contextmanager
def steps(server: Server, file: Path) -> Iterator[Callable[[int], None]]:
    """A server has a wall clock of its own, for which it is started anew; it is right until it steps.

    Args:
        server: The server; it runs.
        file: Where the clock reads by how much it is off.

    Yields:
        What has it step to so many seconds ahead.
    """
    assert _FOUND is not None, "libfaketime is not installed: make servers"
    strangers = set(_left_behind())
    server.kill()
    _set(file, 0)
    server.variables |= _ruled_by(file)
    # a server's own allocator reads the time, which libfaketime answers by allocating: so both get the one of libc
    server.variables["LD_PRELOAD"] += f":{_libc()}"
    server.start()
    try:
        assert "libfaketime" in Path(f"/proc/{server.pid}/maps").read_text(), "it runs by the machine's own wall clock"
        yield partial(_set, file)
    finally:
        server.stop()
        for left in set(_left_behind()) - strangers:
            left.unlink(missing_ok=True)


def _ruled_by(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is as far off as a file says."""
    return {
        "LD_PRELOAD": str(_FOUND),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # otherwise waits with a timeout return at once, again and again, and a takeover takes seconds
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "FAKETIME_NO_CACHE": "1",
        "NO_FAKE_STAT": "1",
        "FAKETIME_TIMESTAMP_FILE": str(file),
    }


def _libc() -> str:
    """The C library that this process runs with."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in lines if "/libc.so" in line or "/libc-" in line)


def _set(file: Path, ahead: int) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(f"{ahead:+d}\n")
    draft.rename(file)  # at once: half a number would be another jump


def _left_behind() -> list[Path]:
    """What libfaketime has shared among processes, of whom the first is gone: killed, it could not clear it away."""
    files = [*Path("/dev/shm").glob("faketime_shm_*"), *Path("/dev/shm").glob("sem.faketime_sem_*")]
    return [file for file in files if state(int(file.name.rpartition("_")[2])) is None]
