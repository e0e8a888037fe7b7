"""What a forked child parts from first: open files whose state it would otherwise share with its parent.

A fork copies memory, but descriptors go on naming the same open file: a lock that the parent held when it died would
stay held by the child, and what the child takes out of an event loop's poll set would be gone from its parent's too.
"""

from __future__ import annotations

import os
import select
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    import threading

__all__ = ["Shared", "part_at_forks", "part_from", "part_loop", "quiet_at_forks", "stay_at_forks"]

_LONGEST: Final = 0.25  # seconds that a fork waits for quiet


class Shared(Protocol):
    """Holds something that a child must not share."""

    def part(self) -> None:
        """Part from the parent; called in the child, before anything else runs there."""


_shared: weakref.WeakSet[Shared] = weakref.WeakSet()


def part_at_forks(shared: Shared) -> None:
    """Have it parted in every forked child, as long as it lives."""
    _shared.add(shared)


def stay_at_forks(shared: Shared) -> None:
    """Have it parted no more: it is closed, and its descriptor's number may name something else by now."""
    _shared.discard(shared)


def part_from(fd: int) -> None:
    """Let a descriptor name nothing any more; its number stays taken, for whoever closes it."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)


def part_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Give an inherited event loop an empty poll set of its own.

    It hears of nothing from then on; but it can be closed, as a child does that leaves by an ordinary `sys.exit()`.
    """
    fileno = getattr(getattr(loop, "_selector", None), "fileno", None)
    if fileno is None:
        return  # not one of asyncio's own: who made it knows what a child must do
    with select.epoll() as empty:
        os.dup2(empty.fileno(), fileno(), inheritable=False)


def quiet_at_forks(lock: threading.Lock) -> None:
    """Have a fork wait, for a moment, until nobody holds this lock.

    It is held by a thread while it is inside a library with locks of its own. A child has none of its parent's threads,
    and a library's lock that one of them held would never be released in it: its own connection would wait for ever.
    """
    _locks.add(lock)


_locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
_held: list[threading.Lock] = []


def _become_quiet() -> None:
    for lock in list(_locks):
        if lock.acquire(timeout=_LONGEST):
            _held.append(lock)


def _go_on() -> None:
    while _held:
        _held.pop().release()


def _part_all() -> None:
    _go_on()
    for shared in list(_shared):
        shared.part()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_become_quiet, after_in_parent=_go_on, after_in_child=_part_all)
