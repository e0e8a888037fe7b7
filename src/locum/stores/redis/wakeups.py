"""Who waits for which keys, and how a message of the scripts reaches them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from locum.identity import Origin
from locum.scopes import happens
from locum.stores.redis.messages import ANYTHING
from locum.stores.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from locum.scopes import Scope
    from locum.store import Change
    from locum.stores.link import Link
    from locum.stores.redis.connection import RedisConnection

__all__ = ["POLL_INTERVAL", "Wakeups"]

POLL_INTERVAL: Final = 5.0
"""Seconds after which everyone looks again without being told."""


class Wakeups:
    """Wakes the subscribers of one store, with a connection of its own.

    A message may be lost with its connection: so whenever one begins, everyone is woken; and one that says nothing is
    asked for a sign of life.

    Args:
        link: Made for this alone.
        channels: What is heard.
        timeout: Asked for the seconds that connecting, or a sign of life, may take.
    """

    def __init__(self, link: Link[RedisConnection], channels: Sequence[bytes], timeout: Callable[[], float]) -> None:
        self._link, self._channels, self._timeout = link, channels, timeout
        self._origin = Origin("the open store's wake-ups")
        self._subscriptions = Subscriptions(POLL_INTERVAL)
        self._listens = False
        self._hears = asyncio.Event()

    @asynccontextmanager
    async def subscribe(self, prefixes: Sequence[str], scope: Scope) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for some prefixes, from here on; the first one begins to listen, in this scope."""
        self._origin.check()
        if not self._listens:  # a keeper has no subscriber, and needs no connection for them
            self._listens = True
            scope.spawn(self._link.stay(self._listen, timeout=self._timeout()), name="listen for changes")
            await happens(self._hears.wait(), within=self._timeout())  # or nobody would be told from here on
        with self._subscriptions.subscribe(prefixes) as wakeups:
            yield wakeups

    def tell_all(self) -> None:
        """Wake everyone."""
        self._subscriptions.tell_all()

    async def _listen(self, connection: RedisConnection) -> None:
        await connection.subscribe(*self._channels)
        self._subscriptions.tell_all()
        self._hears.set()
        while True:
            keys = await connection.hear(POLL_INTERVAL / 2)
            if keys is None:
                await connection.ping()
                keys = await connection.hear(self._timeout())
                if keys is None:
                    raise TimeoutError("no sign of life came")
            if keys == ANYTHING:
                self._subscriptions.tell_all()
            else:
                self._subscriptions.tell(keys)
