"""Who waits for which keys, and how the ensemble's word reaches them.

One persistent watch a process hears of every change, whoever waits: it need not be set again, and a thousand waiters
cost the ensemble one. A connection that says nothing is asked for a sign of life; a new one wakes everyone once.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from locum.identity import Origin
from locum.scopes import Scope, happens
from locum.stores.subscriptions import Subscriptions
from locum.stores.zookeeper import protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from locum.store import Change
    from locum.stores.link import Link
    from locum.stores.zookeeper.connection import ZooKeeperConnection
    from locum.stores.zookeeper.layout import Layout

__all__ = ["POLL_INTERVAL", "Wakeups"]

POLL_INTERVAL: Final = 5.0
_SIGN: Final = 1.0  # seconds from one sign of life to the next
_SILENCE: Final = 3.0  # seconds after which a connection is given up


class Wakeups:
    """Wakes the subscribers of one store connection.

    Args:
        link: A link for nothing else.
        layout: Where everything is.
        timeout: Asked for the seconds that connecting may take.
    """

    def __init__(self, link: Link[ZooKeeperConnection], layout: Layout, timeout: Callable[[], float]) -> None:
        self._link, self._layout, self._timeout = link, layout, timeout
        self._origin = Origin("the open store's wake-ups")
        self._subscriptions = Subscriptions(POLL_INTERVAL)
        self._listens = asyncio.Event()
        self._begun = False

    @asynccontextmanager
    async def subscribe(self, prefixes: Sequence[str], scope: Scope) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for some prefixes, from here on."""
        self._origin.check()
        if not self._begun:
            self._begun = True
            scope.spawn(self._link.stay(self._listen, timeout=POLL_INTERVAL), name="watch for changes")
        await happens(self._listens.wait(), within=self._timeout())  # if not, everyone is woken when it does
        with self._subscriptions.subscribe(prefixes) as wakeups:
            yield wakeups

    def tell_all(self) -> None:
        """Wake everyone."""
        self._subscriptions.tell_all()

    async def _listen(self, connection: ZooKeeperConnection) -> None:
        for path in (self._layout.watched, self._layout.store):
            await connection.ask(protocol.watch(path))
        self._subscriptions.tell_all()  # nobody knows what was missed
        self._listens.set()
        try:
            async with Scope("signs of life") as signs:
                signs.spawn(_sign(connection), name="ping")
                while True:
                    async with asyncio.timeout(_SILENCE):
                        heard = await connection.hear()
                    if heard is not None:
                        self._tell(heard)
        finally:
            self._listens.clear()

    def _tell(self, path: str) -> None:
        if path == self._layout.store:
            self._subscriptions.tell_all()
        elif (key := self._layout.changed(path)) is not None:
            self._subscriptions.tell({key})


async def _sign(connection: ZooKeeperConnection) -> None:
    while True:
        await asyncio.sleep(_SIGN)
        connection.ping()
