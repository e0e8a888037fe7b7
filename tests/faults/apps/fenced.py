"""An active body whose writes carry the token: a row in its own database, past the fence, and then one in the file."""

from __future__ import annotations

import os
import sqlite3

from locum import Host, Term
from tests.faults.apps.ledger import Ledger

host = Host("faults")
ledger = Ledger()
books = sqlite3.connect(os.environ["FAULTS_ROWS"] + "-books.db", timeout=20, isolation_level=None)
books.execute("PRAGMA journal_mode = WAL")
books.execute("CREATE TABLE IF NOT EXISTS work (token INTEGER)")
host.fence(books)


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.002):
        async with term.transaction(books) as connection:
            connection.execute("INSERT INTO work VALUES (?)", (term.token,))
        ledger.write(term.token)


if __name__ == "__main__":
    host.run()
