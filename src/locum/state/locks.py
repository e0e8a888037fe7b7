"""Keys that a transaction has to itself until its outcome is known."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from locum.errors import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Locks", "Name"]

Name: TypeAlias = tuple[str, str]
"""A dictionary, and a key in it."""


class Locks:
    """Who has which key, and who waits for it; first come, first served.

    Reading takes a key like writing: so two that read and then write the same one cannot stand in each other's way, and
    only different orders of keys can. Whoever waits too long is told, which ends those, too.
    """

    def __init__(self) -> None:
        self._owners: dict[Name, Hashable] = {}
        self._waiting: dict[Name, deque[tuple[Hashable, asyncio.Future[None]]]] = {}
        self._closed: Callable[[], Exception] | None = None

    async def acquire(self, owner: Hashable, name: Name, *, timeout: float) -> None:
        """Have a key.

        Raises:
            WaitTimeoutError: Others have had it for so many seconds.
        """
        if self._closed is not None:
            raise self._closed()
        held_by = self._owners.setdefault(name, owner)
        if held_by is owner:
            return
        ours: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append((owner, ours))
        try:
            async with asyncio.timeout(timeout):
                await ours
        except BaseException as error:
            self._leave(name, owner, ours)
            if isinstance(error, TimeoutError):
                raise WaitTimeoutError(f"the key {name[1]!r} of {name[0]!r}", timeout) from None
            raise

    def release(self, owner: Hashable, names: set[Name]) -> None:
        """Give keys up; whoever has waited longest has them next."""
        for name in names:
            if self._owners.get(name) is owner:
                self._pass_on(name)

    def close(self, why: Callable[[], Exception]) -> None:
        """Tell all who wait, and all who come, why there is nothing to be had any more."""
        self._closed = why
        for waiting in self._waiting.values():
            for _, future in waiting:
                if not future.done():
                    future.set_exception(why())
        self._waiting.clear()

    def _pass_on(self, name: Name) -> None:
        waiting = self._waiting.get(name)
        while waiting:
            owner, future = waiting.popleft()
            if not future.done():
                self._owners[name] = owner
                future.set_result(None)
                break
        else:
            del self._owners[name]
        if not waiting:
            self._waiting.pop(name, None)

    def _leave(self, name: Name, owner: Hashable, future: asyncio.Future[None]) -> None:
        """Do not wait any more; it may have been given in this very moment."""
        if self._owners.get(name) is owner:
            self._pass_on(name)
            return
        waiting = self._waiting.get(name)
        if waiting is not None and (owner, future) in waiting:
            waiting.remove((owner, future))
            if not waiting:
                del self._waiting[name]
