"""Processes as the kernel shows them: pids of other namespaces, signals, and the end of all that carries a mark."""

from __future__ import annotations

import os
from pathlib import Path

from locum.identity import process_state as state
from locum.testing.processes import children, descendants, kill_marked, marked, parent
from tests.faults.kit.waiting import until

__all__ = ["children", "descendants", "end_marked", "inner_pid", "marked", "parent", "send", "state"]


def inner_pid(pid: int) -> int:
    """What a process is called in its own pid namespace; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def send(pid: int, number: int) -> bool:
    """Send a signal.

    Returns:
        Whether the process was there.
    """
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end_marked(mark: str) -> None:
    """Kill everything that carries a mark, until nothing of it is left."""
    until(lambda: not kill_marked(mark), f"the end of all that is marked {mark}", within=20)
