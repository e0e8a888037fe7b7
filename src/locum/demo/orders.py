"""The orders database: orders with a grace period, an outbox, and the events that were published.

One SQLite file, opened by the generator and by every instance. Nothing in it forbids a second event for an order: if
two bodies ever worked at once, the rows would show it.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Counts", "Event", "Order", "Orders"]

_BUSY_TIMEOUT: Final = 10.0  # s; an instance that is frozen in a transaction holds the file until the kernel ends it
_AT_ONCE: Final = 500  # a transaction stays short, also after a long time without an active
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY AUTOINCREMENT, placed_at INTEGER NOT NULL, due_at INTEGER NOT NULL, token INTEGER);
    CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL, token INTEGER NOT NULL, sent INTEGER);
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL, token INTEGER NOT NULL,
        pid INTEGER NOT NULL, at INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS orders_due ON orders (due_at);
    CREATE INDEX IF NOT EXISTS orders_waiting ON orders (due_at) WHERE token IS NULL;
    CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (id) WHERE sent IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Order:
    """An order that was placed.

    Attributes:
        id: Its number.
        due_at: When its grace period is over (boot clock, ns).
    """

    id: int
    due_at: int


@dataclass(frozen=True, slots=True)
class Event:
    """An order that was published.

    Attributes:
        id: Its place in the order of writing.
        order: The number of the order.
        token: Under which token it was written.
    """

    id: int
    order: int
    token: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many orders there are, for the view."""

    created: int = 0
    due: int = 0
    published: int = 0


class Orders:
    """One connection to the orders database, for one thread.

    Attributes:
        connection: The connection; its transactions are begun explicitly.
    """

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")  # processes die here, not the machine

    def prepare(self) -> None:
        """Make the tables."""
        self.connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    # -- the generator

    def place(self, orders: Sequence[tuple[int, int]]) -> None:
        """Place orders: when each was placed, and when its grace period will be over (boot clock, ns)."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO orders (placed_at, due_at) VALUES (?, ?)", orders)
        self.connection.execute("COMMIT")

    # -- the service

    def due(self, now: int) -> list[int]:
        """Orders whose grace period is over and that nobody has submitted; the oldest first, a bounded number."""
        rows = self.connection.execute(
            "SELECT id FROM orders WHERE token IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?", (now, _AT_ONCE)
        )
        return [order for (order,) in rows]

    def submit(self, orders: Sequence[int], token: int) -> None:
        """Mark orders as submitted, and put each into the outbox; inside a transaction."""
        rows = [(token, order) for order in orders]
        self.connection.executemany("UPDATE orders SET token = ? WHERE id = ?", rows)
        self.connection.executemany("INSERT INTO outbox (token, order_id) VALUES (?, ?)", rows)

    def unsent(self) -> list[tuple[int, int]]:
        """What lies in the outbox: number and order, a bounded number."""
        rows = self.connection.execute(
            "SELECT id, order_id FROM outbox WHERE sent IS NULL ORDER BY id LIMIT ?", (_AT_ONCE,)
        )
        return [(row, order) for row, order in rows]

    def publish(self, unsent: Sequence[tuple[int, int]], token: int, *, now: int) -> None:
        """Write an event for each, and mark it as sent; inside a transaction."""
        self.connection.executemany(
            "INSERT INTO events (order_id, token, pid, at) VALUES (?, ?, ?, ?)",
            [(order, token, os.getpid(), now) for _, order in unsent],
        )
        self.connection.executemany("UPDATE outbox SET sent = 1 WHERE id = ?", [(row,) for row, _ in unsent])

    # -- the view and the audit

    def counts(self, now: int) -> Counts:
        """How far it is; quick, since the view asks often."""
        created, waiting, published = self.connection.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM orders), (SELECT count(*) FROM orders WHERE due_at > ?),"
            " (SELECT coalesce(max(id), 0) FROM events)",
            (now,),
        ).fetchone()
        return Counts(created, created - waiting, published)

    def all_orders(self) -> list[Order]:
        """Every order that was placed."""
        return [Order(*row) for row in self.connection.execute("SELECT id, due_at FROM orders ORDER BY id")]

    def all_events(self) -> list[Event]:
        """Every event, in the order of writing."""
        return [Event(*row) for row in self.connection.execute("SELECT id, order_id, token FROM events ORDER BY id")]
