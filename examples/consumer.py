"""A consumer: the active instance reads a stream of Redis, and goes on where the last one stopped.

The position is kept in our own database, in the same fenced transaction as what a message did. Redis may hand a message
out as often as it likes: each has its effect once. Needs `pip install 'locum[redis]'`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from locum import Host, Term


@dataclass
class Payment:
    """One message."""

    position: str
    amount: int


class Ledger:
    """Our own database: what the messages add up to, and the last one that is counted."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS ledger (total INTEGER, position TEXT)")
        self.connection.execute("INSERT INTO ledger SELECT 0, '0-0' WHERE NOT EXISTS (SELECT 1 FROM ledger)")

    def position(self) -> str:
        (position,) = self.connection.execute("SELECT position FROM ledger").fetchone()
        return str(position)


class Payments:
    """The stream, from where the ledger is: opened anew for each term."""

    def __init__(self, redis: Redis, ledger: Ledger) -> None:
        self._redis, self._ledger = redis, ledger

    async def __aiter__(self) -> AsyncIterator[Payment]:
        while True:
            found: Any = await self._redis.xrange("payments", f"({self._ledger.position()}", count=1)
            for position, fields in found:
                yield Payment(position.decode(), int(fields[b"amount"]))
            if not found:
                await asyncio.sleep(0.1)

    async def ack(self, payment: Payment) -> None:
        """The ledger has moved on with it."""

    async def nack(self, payment: Payment) -> None:
        """The ledger stands where it was: it comes again."""


def open_ledger() -> Iterator[Ledger]:
    ledger = Ledger(os.environ.get("LEDGER", "ledger.db"))
    yield ledger
    ledger.connection.close()


async def open_redis() -> AsyncIterator[Redis]:
    redis = Redis.from_url(os.environ.get("REDIS", "redis://127.0.0.1"), socket_timeout=10)
    yield redis
    await redis.aclose()


host = Host("accounts")
host.provide(open_ledger)
host.provide(open_redis)
host.provide(Payments)
host.fence(Ledger)


@host.consumer(Payments, active_passive=True, stop_timeout=10)
async def accountant(payment: Payment, term: Term, ledger: Ledger) -> None:
    async with term.transaction(ledger.connection) as connection:
        row = (payment.amount, payment.position)
        connection.execute("UPDATE ledger SET total = total + ?, position = ?", row)


host.critical("accountant", within=30)

if __name__ == "__main__":
    host.run()
