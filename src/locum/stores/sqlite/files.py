"""The two files beside the database: the queue of the writers, and the wake-up.

They hold nothing: the first exists to be locked, the second to be touched and watched. Either may be deleted under us;
each is made anew at its next use, so that all processes meet at the file that the path names.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from locum.forks import part_at_forks, part_from, stay_at_forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["QueueFile", "WakeFile"]

_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4  # also comes when the file loses its name
_IN_MOVE_SELF: Final = 0x800
_WATCHED: Final = _IN_MODIFY | _IN_ATTRIB | _IN_MOVE_SELF


class _SideFile:
    """A file that is held open, and opened anew where its path names another one, or none.

    Args:
        path: Where it is; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._fd = self._open()
        part_at_forks(self)

    def part(self) -> None:
        """A child of a process that dies in its turn would go on holding the lock."""
        part_from(self._fd)

    def close(self) -> None:
        """Close the file."""
        stay_at_forks(self)
        os.close(self._fd)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))  # noqa: PTH116 - on the road of every write
        except FileNotFoundError:
            return False

    def _open_again(self) -> None:
        old, self._fd = self._fd, self._open()
        os.close(old)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


class QueueFile(_SideFile):
    """An exclusive file lock; the kernel grants it in the order of asking."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the lock, hold it for the length of the block."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        while not self._is_in_place():  # whoever asks from now on locks another file
            self._open_again()
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


class WakeFile(_SideFile):
    """A file whose touch wakes whoever watches it.

    Args:
        path: Where it is; made if missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.watch_fd: int | None = self._watch()
        self._touched_here = False

    def was_touched_here(self) -> bool:
        """Whether this process has touched it since this was last asked."""
        was, self._touched_here = self._touched_here, False
        return was

    def touch(self) -> None:
        """Wake the watchers of all processes."""
        self._touched_here = True
        if not self._is_in_place():
            self._open_again()
        os.pwrite(self._fd, b".", 0)

    def drain(self) -> None:
        """Take the events that have come; coalesced wake-ups count as one."""
        if self.watch_fd is not None:
            try:
                os.read(self.watch_fd, 64 * 1024)
            except BlockingIOError:
                pass

    def watch_again(self) -> None:
        """Watch the file that the path names now, made if missing; the same one is not watched twice."""
        if self.watch_fd is not None and not self._add_watch(self.watch_fd):
            try:
                os.close(self._open())
            except OSError:
                return  # the folder is gone or full: until it is not, the store polls
            self._add_watch(self.watch_fd)

    def close(self) -> None:
        """Close the file and its watch."""
        if self.watch_fd is not None:
            os.close(self.watch_fd)
            self.watch_fd = None
        super().close()

    def _watch(self) -> int | None:
        try:
            fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            return None  # no inotify on this platform: the store polls
        if fd < 0:
            return None  # the user's limit of watches is used up: the store polls
        if not self._add_watch(fd):
            os.close(fd)
            return None
        return fd

    def _add_watch(self, fd: int) -> bool:
        return int(self._libc.inotify_add_watch(fd, os.fsencode(self._path), _WATCHED)) >= 0
