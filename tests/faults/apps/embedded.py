"""An instance in one process, whose body can have a C call hold the interpreter."""

from __future__ import annotations

import ctypes
import os

from locum import Host, Term
from tests.faults.apps.ledger import Ledger, take_order

host = Host("faults", enforcement=os.environ["FAULTS_ENFORCEMENT"])
ledger = Ledger()


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.001):
        ledger.write(term.token)
        match take_order():
            case ["hold", duration]:
                # unlike a CDLL, a PyDLL does not let the interpreter go: no other thread runs either
                ctypes.PyDLL(None).usleep(round(float(duration) * 1e6))


if __name__ == "__main__":
    host.run(embedded=True)
