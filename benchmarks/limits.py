"""What this machine can do at best: the parts of a takeover, measured bare, in the same run."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import time
from typing import TYPE_CHECKING

from locum.stores.sqlite.files import WakeFile

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["commits", "deaths", "wakeups"]


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
