"""A cache: the active instance works out the prices, and every instance has them in memory before it is asked."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator

from locum import Host, Stopping, Term

EVERY = float(os.environ.get("REFRESH_EVERY", "5"))


class Prices:
    """The table that they share, and this instance's copy of it.

    Attributes:
        cache: The copy.
    """

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS prices (item TEXT PRIMARY KEY, price INTEGER)")
        self.cache: dict[str, int] = {}

    def refresh(self) -> None:
        self.cache = dict(self.connection.execute("SELECT item, price FROM prices"))


def open_prices() -> Iterator[Prices]:
    prices = Prices(os.environ.get("PRICES", "prices.db"))
    yield prices
    prices.connection.close()


host = Host("prices")
host.provide(open_prices)
host.fence(Prices)


@host.periodic(every=EVERY, active_passive=True, stop_timeout=10)
async def make_prices(term: Term, prices: Prices) -> None:
    """Works on one instance: prices cost something to work out."""
    async with term.transaction(prices.connection) as connection:
        connection.execute("INSERT INTO prices VALUES ('bread', 1) ON CONFLICT (item) DO UPDATE SET price = price + 1")


@host.periodic(every=EVERY, stop_timeout=10)
async def refresh_cache(stopping: Stopping, prices: Prices) -> None:
    """Works on every instance: whoever is asked has an answer in memory."""
    prices.refresh()
    if prices.cache:
        stopping.log.warning("prices: %s", json.dumps(prices.cache))


if __name__ == "__main__":
    host.run()
