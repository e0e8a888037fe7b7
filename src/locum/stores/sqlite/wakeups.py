"""Who waits for which keys, and how a touch of the side file reaches them.

One watcher a connection reads what changed since it last looked, once, and wakes only those whose prefixes match: a
process that waits in a thousand lines costs one query a change, not a thousand.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from locum.errors import StoreError
from locum.identity import Origin
from locum.scopes import happens
from locum.stores.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from locum.store import Change
    from locum.stores.sqlite.files import WakeFile

__all__ = ["Wakeups"]

_OWN_TOUCH: Final = 0.005
"""Seconds after which a touch of our own is followed: another's may have come with it."""


class Wakeups:
    """Wakes the subscribers of one store connection.

    Args:
        file: The side file.
        since: Reads the keys changed after a revision: (the new revision, the keys; `None` if too many have changed).
        poll_interval: Seconds after which it looks, and everyone is woken, without being told.
    """

    def __init__(
        self, file: WakeFile, since: Callable[[int], Awaitable[tuple[int, set[str] | None]]], poll_interval: float
    ) -> None:
        self._file, self._since, self._poll_interval = file, since, poll_interval
        self._origin = Origin("the open store's wake-ups")
        self._subscriptions = Subscriptions(poll_interval)
        self._touched = asyncio.Event()
        self._revision = 0
        self._listens = False

    async def watch(self, revision: int) -> None:
        """Watch for ever, from a revision on; to be run as a task."""
        self._revision = revision
        try:
            while True:
                await happens(self._touched.wait(), within=self._poll_interval)
                self._touched.clear()
                self._file.watch_again()  # it may have been deleted, and made again by another
                if self._subscriptions:
                    await self._dispatch()
        finally:
            if self._listens and self._file.watch_fd is not None:
                asyncio.get_running_loop().remove_reader(self._file.watch_fd)

    def begin_again(self, revision: int) -> None:
        """Go on from another revision, with the file that is there now; everyone is woken."""
        self._revision = revision
        self._file.watch_again()
        self._subscriptions.tell_all()

    @asynccontextmanager
    async def subscribe(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for some prefixes, from here on."""
        self._origin.check()
        if not self._listens and self._file.watch_fd is not None:
            # only from the first subscriber on: a keeper has none, and is not woken in the middle of takeovers
            asyncio.get_running_loop().add_reader(self._file.watch_fd, self._on_touch)
            self._listens = True
        with self._subscriptions.subscribe(prefixes) as wakeups:
            yield wakeups

    def changed_here(self, key: str, revision: int) -> None:
        """A key was changed through this connection, which is told here at once, without asking the store for it."""
        if self._revision == revision - 1:
            self._revision = revision
            self._subscriptions.tell((key,))
        elif self._listens:
            self._touched.set()  # others have changed something too

    async def _dispatch(self) -> None:
        try:
            self._revision, keys = await self._since(self._revision)
        except StoreError:
            keys = None  # wake everyone: their own reads will say what is wrong
        if keys is None:
            self._subscriptions.tell_all()
        else:
            self._subscriptions.tell(keys)

    def _on_touch(self) -> None:
        self._file.drain()
        if self._file.was_touched_here():
            # most likely told already: what it cost to ask now, our own next step would wait for
            asyncio.get_running_loop().call_later(_OWN_TOUCH, self._touched.set)
        else:
            self._touched.set()
