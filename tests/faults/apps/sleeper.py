"""The writer, on whose instances an order blocks the event loop, active or not."""

from __future__ import annotations

from locum import Stopping
from tests.faults.apps.ledger import take_order
from tests.faults.apps.writer import block_the_loop, host


@host.background
async def doze(stopping: Stopping) -> None:
    async for _ in stopping.every(0.01):
        match take_order(own=True):
            case ["block", duration]:
                block_the_loop(float(duration))


if __name__ == "__main__":
    host.run()
