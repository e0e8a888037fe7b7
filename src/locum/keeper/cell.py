"""The deadline, in memory that keeper and worker share.

One writer (the keeper) and one reader (its worker); each field is one aligned 64-bit word, so that a read is never
torn. What a term may still do is decided by looking here, without a call to anyone.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

__all__ = ["Cell"]

_SIZE: Final = 4096
_GENERATION, _CANCEL_AT, _KILL_AT, _TURNED_AT = range(4)


class Cell:
    """The lease's deadlines as both processes see them.

    Args:
        fd: The shared memory; it is duplicated into the map and may be closed afterwards. `None` for memory of this
            process alone, where the keeper is a thread of it.
    """

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            self._map = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            self._map = mmap.mmap(fd, _SIZE)
        self._words = memoryview(self._map).cast("q")

    @staticmethod
    def make() -> int:
        """New shared memory, as a file descriptor that a child may inherit."""
        fd = os.memfd_create("locum-cell", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return fd

    # -- written by the keeper

    def begin(self, generation: int, cancel_at: int, kill_at: int) -> None:
        """A new session: terms of an older generation are over."""
        self._words[_GENERATION] = 0  # no term is current while the rest changes
        self._words[_CANCEL_AT], self._words[_KILL_AT] = cancel_at, kill_at
        self._words[_GENERATION] = generation

    def end(self) -> None:
        """The session is over, and with it every term."""
        self._words[_GENERATION] = 0
        self._words[_CANCEL_AT] = self._words[_KILL_AT] = 0

    def advance(self, cancel_at: int, kill_at: int) -> None:
        """An acknowledged beat: the deadlines move forward, never back (R4)."""
        self._words[_CANCEL_AT] = max(self._words[_CANCEL_AT], cancel_at)
        self._words[_KILL_AT] = max(self._words[_KILL_AT], kill_at)

    # -- read by both

    @property
    def generation(self) -> int:
        """Counts the sessions of one worker; 0 while there is none."""
        return self._words[_GENERATION]

    @property
    def cancel_at(self) -> int:
        """The instant (boot clock, ns) from which on no term is current."""
        return self._words[_CANCEL_AT]

    @property
    def kill_at(self) -> int:
        """The instant (boot clock, ns) at which the kernel ends whoever still has a body."""
        return self._words[_KILL_AT]

    # -- written by the worker

    @property
    def turned_at(self) -> int:
        """When the worker's event loop last turned (boot clock, ns); 0 before it first did."""
        return self._words[_TURNED_AT]

    @turned_at.setter
    def turned_at(self, instant: int) -> None:
        self._words[_TURNED_AT] = instant

    def close(self) -> None:
        """Unmap the memory."""
        self._words.release()
        self._map.close()
