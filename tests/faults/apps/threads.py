"""A plain active body that writes a row every millisecond in its thread, and follows orders; a plain background one."""

from __future__ import annotations

import ctypes
import os

from locum import Host, blocking
from tests.faults.apps.ledger import Ledger, take_order

host = Host("faults")
ledger = Ledger()
pulses = Ledger(os.environ["FAULTS_ROWS"] + "-" + os.environ.get("LOCUM_INSTANCE", "pulse"))


@host.active_passive(stop_timeout=float(os.environ.get("FAULTS_STOP_TIMEOUT", "30")))
def settle(term: blocking.Term) -> None:
    for _ in term.every(0.001):
        ledger.write(term.token)
        match take_order():
            case ["stubborn"]:
                ledger.write_for_ever(term.token, "body")
            case ["blocked"]:
                ctypes.CDLL(None).pause()  # lets go of the interpreter, and never comes back
    ledger.write(term.token, "end")


@host.background
def pulse(stopping: blocking.Stopping) -> None:
    for _ in stopping.every(0.01):
        pulses.write(0)


if __name__ == "__main__":
    host.run()
