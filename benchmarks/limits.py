"""What this machine can do at best: the parts of a takeover, measured bare, in the same run."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.figures import spread
from benchmarks.harness import Case, Sample
from locum.stores.sqlite.files import WakeFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from benchmarks.harness import Outcome

__all__ = ["COMMIT", "NOTICE", "WAKE_UP", "Limits", "least"]

KIND: Final = "limits of this machine"
NOTICE: Final = Case("SIGKILL to its notice (pidfd)", KIND)
COMMIT: Final = Case("durable commit (SQLite, WAL, FULL)", KIND)
WAKE_UP: Final = Case("touch to another process's wake-up", KIND)


class Limits:
    """A subject like the others, so that its noise is theirs: a few measurements of each sort a visit.

    Args:
        folder: Where the files of the visits lie: on the file system of the others'.
    """

    name = "limits"
    cases = (NOTICE, COMMIT, WAKE_UP)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Ten deaths, fifty commits, fifty wake-ups."""
        del seed  # nothing here is random
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            for case in cases:
                if case == NOTICE:
                    found = deaths(10)
                elif case == COMMIT:
                    found = commits(50, Path(name))
                else:
                    found = wakeups(50, Path(name))
                yield from (Sample(case, {"ms": value}) for value in found)


def least(outcome: Outcome, *, death: bool) -> float | None:
    """Milliseconds that a takeover takes at least on this machine, by the medians of the same run.

    The old one's end is written and the grant is taken, a commit each; between the two the successor wakes up. After a
    death somebody has to notice it first.
    """
    found = {case: outcome.values(case, "ms") for case in (NOTICE, COMMIT, WAKE_UP)}
    if not all(found.values()):
        return None
    notice, commit, wake = (spread(values, "ms").p50 for values in found.values())
    return 2 * commit + wake + (notice if death else 0)


def deaths(n: int) -> list[float]:
    """Milliseconds from a SIGKILL to its notice at a pidfd."""
    found = []
    for _ in range(n):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        fd = os.pidfd_open(child)
        time.sleep(0.005)
        begun = time.perf_counter_ns()
        os.kill(child, signal.SIGKILL)
        select.select([fd], [], [])
        found.append((time.perf_counter_ns() - begun) / 1e6)
        os.close(fd)
        os.waitpid(child, 0)
    return found


def commits(n: int, folder: Path) -> list[float]:
    """Milliseconds of one durable commit (WAL, synchronous=FULL)."""
    connection = sqlite3.connect(folder / "commits.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (x INTEGER)")
    found = []
    for number in range(n):
        begun = time.perf_counter_ns()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        connection.execute("COMMIT")
        found.append((time.perf_counter_ns() - begun) / 1e6)
    connection.close()
    return found


def wakeups(n: int, folder: Path) -> list[float]:
    """Milliseconds from a touch of the side file to another process's wake-up."""
    path = folder / "wake"
    file = WakeFile(path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        watch = WakeFile(path)
        fd = watch.watch_fd if watch.watch_fd is not None else -1
        os.write(writer, b"r")
        for _ in range(n):
            select.select([fd], [], [])
            at = time.perf_counter_ns()
            watch.drain()
            os.write(writer, at.to_bytes(8, "little"))
        os._exit(0)
    os.read(reader, 1)
    found = []
    for _ in range(n):
        time.sleep(0.002)
        begun = time.perf_counter_ns()
        file.touch()
        found.append((int.from_bytes(os.read(reader, 8), "little") - begun) / 1e6)
    os.waitpid(child, 0)
    file.close()
    return found
