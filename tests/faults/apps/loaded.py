"""Bodies with a collaborator; the active one notes the modules that were loaded since it stood by."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from locum import ActivePassiveService, Host, Standby, Term
from tests.faults.apps.ledger import Ledger

host = Host("faults")
ledger = Ledger()
loaded: set[str] = set()


class Orders:
    def __init__(self) -> None:
        self.connection = sqlite3.connect(os.environ["FAULTS_ROWS"] + ".db", isolation_level=None)


host.provide(Orders)


def note_new(token: int) -> None:
    new = sorted(set(sys.modules) - loaded)
    Path(f"{os.environ['FAULTS_ROWS']}-loaded-{token}").write_text("\n".join(new))


def note_standing() -> None:
    Path(f"{os.environ['FAULTS_ROWS']}-stood-{os.getpid()}").touch()


class Settle(ActivePassiveService):
    async def run_passive(self, standby: Standby) -> None:
        async for _ in standby.every(0.05):
            loaded.update(sys.modules)
            note_standing()

    async def run_active(self, term: Term, orders: Orders) -> None:  # type: ignore[override]
        async for turn in term.every(0.001):
            ledger.write(term.token)
            if turn == 0:
                orders.connection.execute("SELECT 1")
                note_new(term.token)


host.add(Settle, name="settle")

if __name__ == "__main__":
    host.run()
