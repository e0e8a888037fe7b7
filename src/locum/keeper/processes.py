"""Ending what a worker left behind, and being sure of it (R9, R10)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from locum.identity import ProcessId, start_time, stat_fields
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["end_group", "group_members", "kill_children", "kill_group", "reap"]

_DEAD = ("Z", "X")
_log = logger("keeper.processes")


def group_members(leader: ProcessId) -> list[ProcessId]:
    """The living processes of a worker's process group or session, zombies not counted.

    The worker leads both, so its pid is their number, and the kernel gives that to no new process while one of them is
    left: where another process has it now, none is. What started before the worker belongs to an earlier group.
    """
    return _scan(leader)[0]


def end_group(leader: ProcessId) -> bool:
    """Kill what is left of a worker's group.

    Returns:
        Whether none of it was left for certain; to be repeated until so. What may not be killed stays, and `False` with
        it.
    """
    members, is_whole = _scan(leader)
    for member in members:
        _kill(member)
    return is_whole and not members


def _scan(leader: ProcessId) -> tuple[list[ProcessId], bool]:
    """The living members, and whether nobody can have been missed.

    One that ended between the listing and our look at it may have forked meanwhile, and the child stands in no listing.
    """
    found: list[ProcessId] = []
    if start_time(leader.pid) not in (None, leader.start):
        return found, True
    is_whole = True
    for pid in _pids():
        try:
            # asked first, which costs a tenth of reading: a successor waits for this
            if leader.pid not in (os.getsid(pid), os.getpgid(pid)):
                continue
        except PermissionError:
            pass  # it may yet be read
        except ProcessLookupError:
            is_whole = False
            continue
        fields = stat_fields(pid)
        if fields is None:
            is_whole = False
        elif fields[0] not in _DEAD:
            group, session, start = int(fields[2]), int(fields[3]), int(fields[19])
            if leader.pid in (group, session) and start >= leader.start:
                found.append(ProcessId(pid, start))
    return found, is_whole


def kill_group(group: int) -> None:
    """Kill a whole process group, as far as there is any of it."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        _log.warning("the process group %d cannot be ended: %s", group, error)


def kill_children() -> None:
    """Kill every child of this process, adopted ones too."""
    for child in _children():
        try:
            os.kill(child, signal.SIGKILL)  # a child that nobody has reaped keeps its pid: it is the one we mean
        except ProcessLookupError:
            pass


def reap(keep: int | None = None) -> dict[int, int] | None:
    """Reap every child that has ended.

    Args:
        keep: A child that somebody else reaps.

    Returns:
        The wait statuses by pid; `None` if there is no child left at all.
    """
    ended: dict[int, int] = {}
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return ended or None
        if found is None or found.si_pid == keep:
            return ended
        pid, status = os.waitpid(found.si_pid, 0)
        ended[pid] = status


def _kill(process: ProcessId) -> None:
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        fields = stat_fields(process.pid)  # read after the descriptor was opened: it is the one we mean, or not at all
        if fields is not None and int(fields[19]) == process.start:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError as error:
        _log.warning("process %d, left over from an ended worker, cannot be ended: %s", process.pid, error)
    finally:
        os.close(fd)


def _children() -> Iterator[int]:
    own = os.getpid()
    try:
        for task in Path("/proc/self/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
    except FileNotFoundError:  # a kernel built without that file
        for pid in _pids():
            fields = stat_fields(pid)
            if fields is not None and int(fields[1]) == own:
                yield pid


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - half the time of Path
