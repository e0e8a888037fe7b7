"""An active body that writes a row every millisecond and follows orders, and a background body that writes its own."""

from __future__ import annotations

import asyncio
import os
import time

from locum import Host, Stopping, Term
from tests.faults.apps.ledger import Ledger, take_order

host = Host("faults")
ledger = Ledger()
farewell = float(os.environ.get("FAULTS_FAREWELL", "0"))  # seconds that the body takes to end
pulses = Ledger(os.environ["FAULTS_ROWS"] + "-" + os.environ.get("LOCUM_INSTANCE", "pulse"))


@host.active_passive
async def settle(term: Term) -> None:
    try:
        async for _ in term.every(0.001):
            ledger.write(term.token)
            match take_order():
                case ["raise"]:
                    raise RuntimeError("ordered to fail")
                case ["return"]:
                    return
                case ["block", duration]:
                    block_the_loop(float(duration))
                case ["spin"]:
                    ledger.write_for_ever(term.token, "body")
                case ["stubborn"]:
                    await ignore_the_end(term)
    finally:
        await asyncio.sleep(farewell)
        ledger.write(term.token, "end")


@host.background
async def pulse(stopping: Stopping) -> None:
    async for _ in stopping.every(0.01):
        pulses.write(0)


def block_the_loop(duration: float) -> None:
    time.sleep(duration)


async def ignore_the_end(term: Term) -> None:
    while True:
        try:
            ledger.write(term.token)
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            pass  # what no user should write, and some do


if __name__ == "__main__":
    host.run()
