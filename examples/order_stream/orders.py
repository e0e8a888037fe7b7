"""Orders that come faster than one process can handle: 16 shards, each worked through by one instance.

Each order waits for an answer of the bank. An instance asks it about one order at a time, so two instances do twice as
many. What it has answered and how far the shard is are written in one transaction, which an older owner is refused.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from locum import Batch, DataflowService, Host, Shard

SHARDS = 16
DATABASE = Path(os.environ.get("ORDERS_DATABASE", "orders.db"))

host = Host("order-stream")


def connected() -> sqlite3.Connection:
    """A connection to the orders, with their tables."""
    connection = sqlite3.connect(DATABASE, timeout=20, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, shard INTEGER, at REAL)")
    connection.execute("CREATE INDEX IF NOT EXISTS by_shard ON orders (shard, id)")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS handled (id INTEGER, shard INTEGER, token INTEGER, instance TEXT, at REAL)"
    )
    return connection


class Orders(DataflowService):
    """Handles each order once."""

    shards = SHARDS
    join_delay = 0.5
    least, most, batch_seconds = 1, 50, 0.1
    at_once = 1  # the bank answers one question of an instance at a time
    idle = 0.05

    def __init__(self) -> None:
        self._reading = connected()

    def database(self) -> sqlite3.Connection:
        """A connection for each shard: a transaction is one shard's."""
        return connected()

    async def fetch(self, shard: Shard, position: int | None, limit: int) -> Batch:
        """The next orders of the shard."""
        rows = self._reading.execute(
            "SELECT id FROM orders WHERE shard = ? AND id > ? ORDER BY id LIMIT ?", (shard.index, position or 0, limit)
        ).fetchall()
        (behind,) = self._reading.execute(
            "SELECT COUNT(*) FROM orders WHERE shard = ? AND id > ?", (shard.index, position or 0)
        ).fetchone()
        return Batch([order for (order,) in rows], rows[-1][0] if rows else position, lag=behind)

    async def prepare(self, shard: Shard, items: Sequence[int]) -> Sequence[int]:
        """Ask the bank about each."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["BANK_PORT"]))
        try:
            for order in items:
                writer.write(f"GET /orders/{order} HTTP/1.1\r\nHost: bank\r\n\r\n".encode())
                await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()
        return items

    async def process(self, shard: Shard, items: Sequence[int], connection: sqlite3.Connection) -> None:
        """Write down what was handled, under the token."""
        connection.executemany(
            "INSERT INTO handled VALUES (?, ?, ?, ?, ?)",
            [(order, shard.index, shard.token, shard.instance, time.time()) for order in items],
        )


host.add(Orders)

if __name__ == "__main__":
    host.run()
