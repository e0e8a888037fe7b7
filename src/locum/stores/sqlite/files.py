"""The two files beside the database: the queue of the writers, and the wake-up.

They hold nothing: the first exists to be locked, the second to be touched and watched.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["QueueFile", "WakeFile"]

_IN_MODIFY: Final = 0x2


class QueueFile:
    """An exclusive file lock; the kernel grants it in the order of asking.

    Args:
        path: Where it is; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the lock, hold it for the length of the block."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class WakeFile:
    """A file whose touch wakes whoever watches it.

    Args:
        path: Where it is; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.watch_fd: int | None = self._watch()

    def touch(self) -> None:
        """Wake the watchers of all processes."""
        os.pwrite(self._fd, b".", 0)

    def drain(self) -> None:
        """Take the events that have come; coalesced wake-ups count as one."""
        if self.watch_fd is not None:
            try:
                os.read(self.watch_fd, 64 * 1024)
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Close the file and its watch."""
        if self.watch_fd is not None:
            os.close(self.watch_fd)
            self.watch_fd = None
        os.close(self._fd)

    def _watch(self) -> int | None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            return None  # no inotify on this platform: the store polls
        if fd < 0:
            return None  # the user's limit of watches is used up: the store polls
        if libc.inotify_add_watch(fd, os.fsencode(self._path), _IN_MODIFY) < 0:
            os.close(fd)
            return None
        return fd
