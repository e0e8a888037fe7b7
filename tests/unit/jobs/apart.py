"""Functions that are called in processes of their own: this module loads nothing that would take its time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locum import blocking


def add(a: int, b: int, pids: str) -> int:
    sys.stdout.write("not an answer\n")
    with open(pids, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n")
    if b < 0:
        raise ValueError("b is below 0")
    return a + b


def hang(pids: str) -> None:
    with open(pids, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n")
    while True:
        time.sleep(60)


def die() -> None:
    os.kill(os.getpid(), 9)


def count(run: blocking.Run, file: str) -> dict[str, Any]:
    """What it is given, and what it can say; it begins where the last attempt has left off."""
    run.check()
    begun = run.last_checkpoint or 0
    run.progress(begun, 10, note="counting")
    for done in range(begun, 10):
        run.sleep(0.05)
        run.progress(done + 1, 10, note="counting")
        run.checkpoint(done + 1)
        if done == 4 and run.attempt == 1:
            raise ValueError("half of it")
    with open(file, "a") as out:  # noqa: PTH123
        out.write(f"{run.token} {run.attempt} {begun} {run.params['file'] == file} {run.is_current}\n")
    return {"token": run.token}


def listen(run: blocking.Run, pids: str) -> None:
    """It goes on until it is asked to end, and says so."""
    with open(pids, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n")
    turns = sum(1 for _ in run.every(0.02))
    with open(pids + "-asked", "w") as file:  # noqa: PTH123
        file.write(f"{run.stopping} {turns > 0}")
    raise asyncio.CancelledError  # not done


def breed(pids: str) -> None:
    """It leaves a child behind, which leaves its standard streams alone."""
    child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(pids, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n{child.pid}\n")


def breed_and_hang(pids: str) -> None:
    breed(pids)
    time.sleep(600)


def fall_silent(run: blocking.Run) -> None:
    run.beat()
    time.sleep(600)


def write(run: blocking.Run, file: str) -> None:
    """A fenced write in a process."""
    import sqlite3

    connection = sqlite3.connect(file, isolation_level=None)
    with run.transaction(connection) as inside:
        inside.execute("INSERT INTO done VALUES (?)", (run.token,))


def half(run: blocking.Run, go_on: str) -> None:
    """It has done half, and says so until it may go on."""
    run.progress(30, 60, "of the orders")
    while not os.path.exists(go_on):  # noqa: PTH110
        run.sleep(0.05)
