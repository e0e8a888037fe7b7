"""Who a process is: its machine, boot, namespaces, pid and start time.

A pid alone proves nothing: it is reused, and it means another process in another pid namespace or after a reboot. A
*machine key* names one boot, one pid namespace and one time namespace: only within the same key may a pid and a start
time be compared (R9).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from locum.errors import ForkedError

__all__ = [
    "MachineKey",
    "Origin",
    "ProcessId",
    "host_name",
    "parent_of",
    "process_state",
    "sees_own_processes",
    "start_time",
]


@dataclass(frozen=True, slots=True)
class MachineKey:
    """One boot of one kernel, seen from one pid namespace and one time namespace."""

    boot: str
    pid_namespace: str
    time_namespace: str

    @classmethod
    def of_this_process(cls) -> MachineKey:
        """The key of the calling process."""
        return cls(
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            _namespace("pid"),
            _namespace("time"),
        )

    def __str__(self) -> str:
        return f"{self.boot}/{self.pid_namespace}/{self.time_namespace}"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid together with the start time that tells it from a later process of the same pid.

    Attributes:
        pid: The pid, as its own pid namespace numbers it.
        start: Its start, in clock ticks since boot (field 22 of /proc/PID/stat).
    """

    pid: int
    start: int

    @classmethod
    def of_this_process(cls) -> ProcessId:
        """The calling process."""
        return cls(os.getpid(), start_time("self") or 0)


class Origin:
    """The process that made a handle; its forked children must not use it (R30).

    A child has the memory of its parent's leases, and nothing that keeps them: no thread, no beat, no timer.

    Args:
        what: The handle, for the message.
    """

    __slots__ = ("_pid", "_what")

    def __init__(self, what: str) -> None:
        self._what, self._pid = what, os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raise `ForkedError` in a forked child."""
        if os.getpid() != self._pid:
            raise ForkedError(self._what, self._pid)


def host_name() -> str:
    """The machine's name, for people; it proves nothing (R9)."""
    return socket.gethostname() or "machine"


def sees_own_processes() -> bool:
    """Whether /proc shows the pid namespace that this process lives in; otherwise it proves nothing about a pid."""
    try:
        return int(Path("/proc/self/stat").read_text().split(" ", 1)[0]) == os.getpid()
    except (OSError, ValueError):
        return False


def start_time(pid: int | str) -> int | None:
    """The start of a process in clock ticks since boot, or `None` if /proc does not tell."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def process_state(pid: int) -> str | None:
    """The state letter of a process (`R`, `S`, `T`, `Z`, ...), or `None` if /proc does not tell."""
    fields = stat_fields(pid)
    return fields[0] if fields else None


def parent_of(pid: int) -> int | None:
    """The pid of a process's parent, or `None` if /proc does not tell."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def stat_fields(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (the state) on; the second, the command's name, may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - on the road of a takeover; Path costs as much again
            text = file.read().decode("ascii", "replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _namespace(kind: str) -> str:
    try:
        return str(Path(f"/proc/self/ns/{kind}").readlink())
    except OSError:
        return f"{kind}:unknown"  # an old kernel without time namespaces has one for all
