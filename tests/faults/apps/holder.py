"""Holds a SQLite store so that nobody else can write to it, until this process ends.

Usage: holder.py DATABASE: takes the writers' queue, then the database's own lock, and says `held` once it has both.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import time


def main() -> None:
    """Take both locks, and hold them."""
    database = sys.argv[1]
    queue = os.open(database + "-queue", os.O_RDWR)
    fcntl.flock(queue, fcntl.LOCK_EX)
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    os.write(1, b"held\n")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
