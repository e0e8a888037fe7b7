"""An active body that writes a row every millisecond, and now and then one into a database that is fenced."""

from __future__ import annotations

import os
import sqlite3

from locum import Host, Term
from tests.faults.apps.ledger import Ledger

host = Host("faults")
ledger = Ledger()
database = sqlite3.connect(os.environ["FAULTS_ROWS"] + ".db", isolation_level=None, timeout=30)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY AUTOINCREMENT, token INTEGER NOT NULL)")
host.fence(database)


@host.active_passive
async def settle(term: Term) -> None:
    number = 0
    async for _ in term.every(0.001):
        ledger.write(term.token)
        number += 1
        if number % 50 == 1:
            async with term.transaction(database) as connection:
                connection.execute("INSERT INTO rows (token) VALUES (?)", (term.token,))


if __name__ == "__main__":
    host.run()
