"""A sharded service: each body writes rows into its shard's own file, and counts on in a fenced table of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing

from locum import Host, Restart, Shard
from tests.faults.apps.ledger import Ledger

ROWS = os.environ["FAULTS_ROWS"]
BOOKS = ROWS + "-books.db"
COUNTS = os.environ.get("FAULTS_CHECKPOINTS", "1") == "1"
POISONED = int(os.environ.get("FAULTS_POISONED", "-1"))

host = Host("faults")


@host.sharded(
    shards=int(os.environ.get("FAULTS_SHARDS", "64")),
    join_delay=float(os.environ.get("FAULTS_JOIN_DELAY", "0.3")),
    rebalance_delay=float(os.environ.get("FAULTS_REBALANCE_DELAY", "0")),
    restart=Restart(most=3, first=0.05, last=0.1),
    stop_timeout=10,
)
async def orders(shard: Shard) -> None:
    if shard.index == POISONED:
        raise ValueError("no such customer")
    ledger = Ledger(f"{ROWS}-shard-{shard.index}")
    done = shard.position or 0
    with closing(sqlite3.connect(BOOKS, timeout=20, isolation_level=None)) as books:
        try:
            async for turn in shard.every(0.03):
                ledger.write(shard.token)
                if COUNTS and turn % 20 == shard.index % 20:
                    async with shard.transaction(books) as connection:
                        connection.execute("INSERT INTO work VALUES (?, ?, ?)", (shard.index, done + 1, shard.token))
                        await asyncio.sleep(0.001)  # in flight
                    done += 1
                    await shard.checkpoint(done)
                    shard.lag = 0.0
            for _ in range(3):  # it was asked to end, and finishes what it is in the middle of
                ledger.write(shard.token)
                await asyncio.sleep(0.01)
        finally:
            ledger.write(shard.token, "end")


with closing(sqlite3.connect(BOOKS, timeout=20)) as made:
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("CREATE TABLE IF NOT EXISTS work (shard INTEGER, number INTEGER, token INTEGER)")

if __name__ == "__main__":
    host.run()
