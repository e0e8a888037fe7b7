"""Processes as the kernel shows them: who descends from whom, and ending all that one test has started.

Whatever a test starts carries a mark in its environment, which its children inherit. So at the end they are found,
however they left their parents; and a process of somebody else is never hit, for it is looked at again through a
descriptor that means it alone.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from locum.identity import stat_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["children", "descendants", "has_ended", "kill_marked", "marked", "open_child", "parent"]


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or has ended and only waits to be reaped."""
    fields = stat_fields(pid)
    return fields is None or fields[0] in ("Z", "X")


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def children(pid: int) -> list[int]:
    """The children of a process, zombies too, the oldest first."""
    found = []
    for other in _pids():
        fields = stat_fields(other)
        if fields is not None and int(fields[1]) == pid:
            found.append((int(fields[19]), other))
    return [child for _, child in sorted(found)]


def descendants(pid: int) -> list[int]:
    """All below a process."""
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def open_child(pid: int, of: int) -> int | None:
    """A descriptor of a process, if that is a child of another one: no later process of the same pid is meant."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if parent(pid) == of:  # read after the descriptor was opened
        return fd
    os.close(fd)
    return None


def marked(mark: str) -> list[int]:
    """The processes that were started with this in their environment, and what they forked."""
    return [pid for pid in _pids() if _is_marked(pid, mark)]


def kill_marked(mark: str) -> Sequence[int]:
    """Kill all that carries a mark.

    Returns:
        Whoever carried it: to be repeated until there is nobody, for the dying may still have forked.
    """
    found = marked(mark)
    for pid in found:
        _kill(pid, mark)
    return found


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
