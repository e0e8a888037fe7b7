"""An active body that writes a row every millisecond and follows orders, and a background body that writes its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time

from locum import Host, Stopping, Term
from locum.keeper import kernel
from tests.faults.apps.ledger import Ledger, take_order

host = Host("faults", hang_timeout=float(os.environ.get("FAULTS_HANG_TIMEOUT", "30")))
ledger = Ledger()
farewell = float(os.environ.get("FAULTS_FAREWELL", "0"))  # seconds that the body takes to end
stop_timeout = float(os.environ.get("FAULTS_STOP_TIMEOUT", "30"))
pulses = Ledger(os.environ["FAULTS_ROWS"] + "-" + os.environ.get("LOCUM_INSTANCE", "pulse"))


@host.active_passive(stop_timeout=stop_timeout)
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
                case ["hold", duration]:
                    hold_the_interpreter(term, float(duration))
                case ["spin"]:
                    ledger.write_for_ever(term.token, "body")
                case ["stubborn"]:
                    await ignore_the_end(ledger, term.token)
    finally:
        await asyncio.sleep(farewell)
        ledger.write(term.token, "end")


@host.background(stop_timeout=stop_timeout)
async def pulse(stopping: Stopping) -> None:
    async for _ in stopping.every(0.01):
        pulses.write(0)
        match take_order(own=True):
            case ["block", duration]:
                block_the_loop(float(duration))
            case ["stubborn"]:
                await ignore_the_end(pulses, 0)


def block_the_loop(duration: float) -> None:
    time.sleep(duration)


def hold_the_interpreter(term: Term, duration: float) -> None:
    """One C call that does not let go of the interpreter; a thread's rows tell whether that is so."""
    threading.Thread(target=ledger.write_for_ever, args=(term.token, "thread"), daemon=True).start()
    time.sleep(0.1)
    timer = kernel.make_timerfd()
    os.set_blocking(timer, True)
    kernel.set_timerfd(timer, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(duration * 1e9))
    # unlike other sleeps, this one is not cut short by a signal
    ctypes.PyDLL(None).read(timer, ctypes.create_string_buffer(8), 8)


async def ignore_the_end(rows: Ledger, token: int) -> None:
    while True:
        try:
            rows.write(token)
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            pass  # what no user should write, and some do


if __name__ == "__main__":
    host.run()
