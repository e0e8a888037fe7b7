"""Processes as the kernel shows them: descendants, marks, pids of other namespaces; signals that hit whom they mean."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from locum.identity import stat_fields
from tests.faults.kit.waiting import until

__all__ = ["children", "descendants", "end_marked", "inner_pid", "marked", "parent", "send", "state"]


def state(pid: int) -> str | None:
    """The state letter of a process, or `None` if it is gone."""
    fields = stat_fields(pid)
    return fields[0] if fields else None


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def children(pid: int) -> list[int]:
    """The children of a process, zombies too."""
    found = []
    for other in _pids():
        fields = stat_fields(other)
        if fields is not None and int(fields[1]) == pid:
            found.append(other)
    return found


def descendants(pid: int) -> list[int]:
    """All below a process."""
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


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


def marked(mark: str) -> list[int]:
    """The processes that were started with this in their environment, and what they forked."""
    return [pid for pid in _pids() if _is_marked(pid, mark)]


def end_marked(mark: str) -> None:
    """Kill everything that carries a mark, until nothing of it is left."""

    def none_left() -> bool:
        left = marked(mark)
        for pid in left:
            _kill(pid, mark)
        return not left

    until(none_left, f"the end of all that is marked {mark}", within=20)


def _kill(pid: int, mark: str) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _is_marked(pid, mark):  # read after the descriptor was opened: it is the one that we mean
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def _is_marked(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
