"""Who waits for which keys, and how what a server pushes reaches them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from locum.identity import Origin
from locum.scopes import happens
from locum.stores.link import Connection
from locum.stores.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from locum.scopes import Scope
    from locum.store import Change
    from locum.stores.link import Link

__all__ = ["ANYTHING", "POLL_BLIND", "POLL_INTERVAL", "Hearing", "Wakeups"]

ANYTHING: Final = frozenset({""})
"""Stands for all keys; none is called so."""

POLL_INTERVAL: Final = 5.0
"""Seconds after which everyone looks again without being told."""

POLL_BLIND: Final = 0.25
"""The same, where nobody can be told."""


class Hearing(Connection, Protocol):
    """A connection that is pushed to."""

    async def hear(self, within: float) -> frozenset[str] | None:
        """The keys of the next message, or `None` if there is none within so many seconds."""

    async def ping(self) -> None:
        """Ask for a sign of life, which `hear` gives as a message of no keys."""


H = TypeVar("H", bound=Hearing)


class Wakeups(Generic[H]):
    """Wakes the subscribers of one store, with a connection of its own.

    A message may be lost with its connection: so whenever one begins, everyone is woken; and one that says nothing is
    asked for a sign of life.

    Args:
        link: Made for this alone.
        subscribe: Begins to hear, on each new connection.
        timeout: Asked for the seconds that connecting, or a sign of life, may take.
        pushed: Whether anything is heard at all; otherwise everyone looks again every `POLL_BLIND` seconds.
    """

    def __init__(
        self,
        link: Link[H],
        subscribe: Callable[[H], Awaitable[None]],
        timeout: Callable[[], float],
        *,
        pushed: bool = True,
    ) -> None:
        self._link, self._subscribe, self._timeout = link, subscribe, timeout
        self._origin = Origin("the open store's wake-ups")
        self._subscriptions = Subscriptions(POLL_INTERVAL if pushed else POLL_BLIND)
        self._listens = not pushed
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

    async def _listen(self, connection: H) -> None:
        await self._subscribe(connection)
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
