"""What `orders.py` does, in one process and without Locum: for comparison."""

from __future__ import annotations

import asyncio
import os
import time

import orders  # type: ignore[import-not-found]  # it stands beside this program


async def main() -> None:
    """Fetch, ask, write down; again and again."""
    database, reached = orders.connected(), 0
    while True:
        rows = database.execute("SELECT id, shard FROM orders WHERE id > ? ORDER BY id LIMIT 20", (reached,)).fetchall()
        if not rows:
            await asyncio.sleep(0.05)
            continue
        reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["BANK_PORT"]))
        for order, _ in rows:
            writer.write(f"GET /orders/{order} HTTP/1.1\r\nHost: bank\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        database.execute("BEGIN IMMEDIATE")
        done = [(one, shard, time.time()) for one, shard in rows]
        database.executemany("INSERT INTO handled VALUES (?, ?, 0, 'loop', ?)", done)
        database.execute("COMMIT")
        reached = rows[-1][0]


if __name__ == "__main__":
    asyncio.run(main())
