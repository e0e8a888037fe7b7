"""The service that many write first: a table in which every instance registers itself each second.

Whoever sees no active one makes itself active. Whoever sees one that has not registered for a timeout removes it.
"""

from __future__ import annotations

import sqlite3
import threading
import time

from benchmarks.peers.work import Work

_TABLE = "CREATE TABLE IF NOT EXISTS instances (name TEXT PRIMARY KEY, active INTEGER NOT NULL, seen REAL NOT NULL)"
_UPSERT = "INSERT INTO instances VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET active = ?2, seen = ?3"


def register(database: sqlite3.Connection, name: str, timeout: float) -> bool:
    """Register, and become active if nobody is.

    Returns:
        Whether this instance is active.
    """
    now = time.time()
    database.execute("DELETE FROM instances WHERE seen < ?", (now - timeout,))
    rows = database.execute("SELECT name, active FROM instances").fetchall()
    active = [other for other, is_active in rows if is_active]
    is_active = not active or name in active
    database.execute(_UPSERT, (name, is_active, now))
    return is_active


def register_for_ever(work: Work, active: threading.Event, done: threading.Event) -> None:
    """Register every second."""
    database = sqlite3.connect(work.server, isolation_level=None, timeout=30)
    while not done.wait(1.0):
        if register(database, work.name, work.ttl):
            active.set()
        else:
            active.clear()
    database.execute("DELETE FROM instances WHERE name = ?", (work.name,))


def main() -> None:
    """Work while active."""
    work = Work()
    sqlite3.connect(work.server, timeout=30).execute(_TABLE)
    active, done = threading.Event(), threading.Event()
    registration = threading.Thread(target=register_for_ever, args=(work, active, done))
    registration.start()
    work.stand()
    while not work.leaving:
        active.wait(0.1)
        if active.is_set():
            work.run(lambda: not active.is_set())
    done.set()
    registration.join()


if __name__ == "__main__":
    main()
