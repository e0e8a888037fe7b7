"""Functions that are called in processes of their own: this module loads nothing that would take its time."""

from __future__ import annotations

import os
import sys
import time


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
