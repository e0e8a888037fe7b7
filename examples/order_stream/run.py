"""How late orders are handled with one, two and three instances, of which one may be killed and one added.

python run.py [--seconds S] [--instances 1,2,3] [--kill] [--rate R] [--store URL] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from locum import shard_of

ANSWERS_AFTER = 0.006  # seconds


class Bank:
    """A server on this machine that answers each question after some milliseconds."""

    async def __aenter__(self) -> Bank:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(ANSWERS_AFTER)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Instances:
    """The instances of one run, all of which end with it."""

    def __init__(self, folder: Path, store: str, port: int) -> None:
        self._folder, self._store, self._port = folder, store, port
        self.running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Start one more."""
        number = len(self.running) + 1
        environment = {
            **os.environ,
            "LOCUM_STORE": self._store,
            "ORDERS_DATABASE": str(self._folder / "orders.db"),
            "BANK_PORT": str(self._port),
        }
        with (self._folder / f"orders-{number}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "locum", "run", "orders:host", "--name", f"orders-{number}"),
                cwd=Path(__file__).parent,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)

    async def end(self) -> None:
        """Stop all that still run."""
        for process in self.running:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            await process.wait()

    async def __aenter__(self) -> Instances:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()


@asynccontextmanager
async def compared(folder: Path, port: int, *, wanted: bool) -> AsyncIterator[None]:
    """A loop without Locum handles the orders of all shards in a process of its own, if that is wanted."""
    if not wanted:
        yield
        return
    environment = {**os.environ, "ORDERS_DATABASE": str(folder / "orders.db"), "BANK_PORT": str(port)}
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(sys.executable, "loop.py", cwd=here, env=environment)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def orders_come(database: Any, rate: float, seconds: float) -> int:
    """Write orders, as evenly as may be."""
    begun, made = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        due = int(passed * rate) - made
        if due > 0:
            rows = [(shard_of(f"customer-{random.randrange(10_000)}", 16), time.time()) for _ in range(due)]
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO orders (shard, at) VALUES (?, ?)", rows)
            database.execute("COMMIT")
            made += due
        await asyncio.sleep(0.01)
    return made


async def until(condition: Any, seconds: float) -> bool:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


async def one_run(folder: Path, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """So many instances for so many seconds."""
    os.environ["ORDERS_DATABASE"] = str(folder / "orders.db")
    import orders  # type: ignore[import-not-found]  # it stands beside this program, and reads the environment

    orders.DATABASE = folder / "orders.db"
    database = orders.connected()

    def handled_by() -> int:
        return int(database.execute("SELECT COUNT(DISTINCT instance) FROM handled").fetchone()[0])

    store = options.store or f"sqlite:///{folder / 'store.db'}"
    async with (
        Bank() as bank,
        Instances(folder, store, bank.port) as instances,
        compared(folder, bank.port, wanted=not count),
    ):
        for _ in range(count):
            await instances.start()
        # each has its part when each has handled one: until then orders are put in that do not count
        for number in range(32):
            database.execute("INSERT INTO orders (shard, at) VALUES (?, 0)", (number % 16,))
        feeding = time.monotonic()
        while not await until(lambda: handled_by() >= max(1, count), 0.5):
            if time.monotonic() - feeding > 60:
                raise SystemExit("the instances do not come up: see their logs in " + str(folder))
            database.executemany("INSERT INTO orders (shard, at) VALUES (?, 0)", [(each,) for each in range(16)])
        coming = asyncio.ensure_future(orders_come(database, options.rate, options.seconds))
        hurts = options.kill and count > 1
        if hurts:
            await asyncio.sleep(options.seconds / 3)
            instances.running[0].kill()
            await asyncio.sleep(options.seconds / 3)
            await instances.start()
        await coming
        at_end = time.time()
        late = [
            (seen if seen is not None and seen < at_end else at_end) - at
            for at, seen in database.execute(
                "SELECT o.at, h.at FROM orders o LEFT JOIN handled h ON h.id = o.id WHERE o.at > 0"
            )
        ]
        in_time = database.execute(
            "SELECT COUNT(*) FROM handled h JOIN orders o ON o.id = h.id WHERE o.at > 0 AND h.at <= ?", (at_end,)
        ).fetchone()[0]

        def left() -> int:
            return int(
                database.execute("SELECT COUNT(*) FROM orders WHERE id NOT IN (SELECT id FROM handled)").fetchone()[0]
            )

        await until(lambda: left() == 0, 60 if count else 0)
        lost = left()
    twice = database.execute("SELECT COUNT(*) - COUNT(DISTINCT id) FROM handled").fetchone()[0]
    falls = database.execute(
        "SELECT COUNT(*) FROM"
        " (SELECT token, LAG(token) OVER (PARTITION BY shard ORDER BY rowid) AS before FROM handled)"
        " WHERE token < before"
    ).fetchone()[0]
    late.sort()
    return {
        "instances": count,
        "killed": int(hurts),
        "orders": len(late),
        "handled_per_second": round(in_time / options.seconds, 1),
        "p50": round(late[len(late) // 2], 3),
        "p95": round(late[int(len(late) * 0.95)], 3),
        "lost": lost,
        "twice": twice,
        "falling_tokens": falls,
    }


async def main() -> int:
    """Run them all, and audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--instances", default="1,2,3", help="how many, in turn; 0 for a loop without Locum")
    parser.add_argument("--rate", type=float, default=200.0, help="orders a second")
    parser.add_argument("--kill", action="store_true", help="where there are two or more, kill one and add one")
    parser.add_argument("--store", help="the URL of the store; a file if none is given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = []
    for count in map(int, options.instances.split(",")):
        with tempfile.TemporaryDirectory(prefix="order-stream-") as folder:
            found.append(await one_run(Path(folder), count, options))
        if not options.json:
            one = found[-1]
            who = f"{count} instance{'s' * (count > 1)}" if count else "a loop without Locum"
            hurt = ", of which one was killed and one added" if one["killed"] else ""
            print(
                f"{who}{hurt}: {one['handled_per_second']} of {options.rate:g} orders a second,"
                f" p50 {one['p50']:.2f} s, p95 {one['p95']:.2f} s; lost {one['lost']}, twice {one['twice']}"
            )
    if options.json:
        print(json.dumps({"rate": options.rate, "seconds": options.seconds, "runs": found}))
    return int(any((one["lost"] and one["instances"]) or one["twice"] or one["falling_tokens"] for one in found))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
