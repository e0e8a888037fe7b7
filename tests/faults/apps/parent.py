"""An active body with children by fork and by subprocess, which all write rows under its token and never leave."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from locum import Host, Term
from tests.faults.apps.ledger import Ledger

host = Host("faults")
ledger = Ledger()


@host.active_passive
async def settle(term: Term) -> None:
    if os.fork() == 0:
        ledger.write_for_ever(term.token, "fork")
    scribe = Path(__file__).with_name("scribe.py")
    names = os.environ["FAULTS_CHILDREN"].split()
    await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-E", str(scribe), os.environ["FAULTS_ROWS"], str(term.token), *names
    )
    async for _ in term.every(0.001):
        ledger.write(term.token)


if __name__ == "__main__":
    host.run()
