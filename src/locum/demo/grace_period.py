"""The service: publishes each order when its grace period is over."""

from __future__ import annotations

from typing import Final

from locum import ActivePassiveService, Options, Term
from locum.clock import Clock
from locum.demo.brokers import Broker, Message
from locum.demo.orders import Orders
from locum.demo.settings import DemoSettings
from locum.demo.trace import Trace

__all__ = ["GracePeriod"]

_ROW_EVERY: Final = 0.001  # s


class GracePeriod(ActivePassiveService):
    """Submits orders whose grace period is over to an outbox, and publishes what lies there.

    It reads first and writes what it has read in a fenced transaction. Nothing but being the only active, and the fence
    that was raised before the first read, keeps two of them from publishing the same order: that is what is shown.

    A broker is outside of that transaction: what lies in the outbox is handed over first and marked as sent afterwards.
    Whoever is killed in between leaves it unmarked, and the next one sends it again: at least once, and never lost.

    Args:
        orders: The database.
        trace: Where it shows that it runs.
        broker: Where the outbox is relayed to.
        settings: How often it looks, as of now.
    """

    def __init__(self, orders: Orders, trace: Trace, broker: Broker, settings: Options[DemoSettings]) -> None:
        self._orders, self._trace, self._broker, self._settings = orders, trace, broker, settings
        self._clock = Clock()

    async def run_active(self, term: Term) -> None:
        """Leave a row every millisecond, and look for orders every few."""
        next_poll = 0
        async for turn in term.every(_ROW_EVERY):
            self._trace.append(term.token)
            if turn >= next_poll:
                next_poll = turn + max(1, round(self._settings.current.interval / _ROW_EVERY))  # rows
                await self._submit(term)
                await self._publish(term)

    async def _submit(self, term: Term) -> None:
        due = self._orders.due(self._clock.now())
        if due:
            async with term.transaction(self._orders.connection):
                self._orders.submit(due, term.token)

    async def _publish(self, term: Term) -> None:
        unsent = self._orders.unsent()
        if unsent:
            term.check()
            await self._broker.publish([Message(row, order, term.token) for row, order in unsent])
            async with term.transaction(self._orders.connection):
                self._orders.publish(unsent, term.token, now=self._clock.now())
