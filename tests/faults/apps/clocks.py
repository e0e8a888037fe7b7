"""An active body that writes a row every millisecond; and what each instance's worker reads from its two clocks."""

from __future__ import annotations

import os

from locum import Host, Stopping, Term
from locum.clock import Clock
from tests.faults.apps.ledger import Ledger

host = Host("faults")
ledger = Ledger()
readings = os.open(
    os.environ["FAULTS_ROWS"] + "-" + os.environ["LOCUM_INSTANCE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666
)


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.001):
        ledger.write(term.token)


@host.background
async def read_the_clocks(stopping: Stopping) -> None:
    clock = Clock()
    async for _ in stopping.every(0.02):
        os.write(readings, f"{clock.now()} {clock.wall().timestamp() * 1e9:.0f}\n".encode())


if __name__ == "__main__":
    host.run()
