"""The generator: a process of its own that places orders at a steady rate.

`python -m locum.demo.generator DATABASE RATE SECONDS`
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum.clock import Clock, nanoseconds, seconds
from locum.demo.folder import DEMO_VARIABLE
from locum.demo.orders import Orders
from locum.keeper import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command", "place_orders"]

_GRACE: Final = (0.8, 1.2)  # s
_LONGEST_PAUSE: Final = 0.05  # s


def command(database: Path, *, rate: float, duration: float) -> Sequence[str]:
    """The command line of a generator."""
    return [sys.executable, "-P", "-m", "locum.demo.generator", str(database), str(rate), str(duration)]


def place_orders(orders: Orders, *, rate: float, duration: float, clock: Clock) -> None:
    """Place `rate` orders a second for `duration` seconds; without drift, so what was late is made up for."""
    begun, placed, total = clock.now(), 0, round(rate * duration)
    while placed < total:
        now = clock.now()
        wanted = min(total, 1 + int(seconds(now - begun) * rate))
        if wanted > placed:
            orders.place([(now, now + _grace()) for _ in range(wanted - placed)])
            placed = wanted
        else:
            time.sleep(min(_LONGEST_PAUSE, max(0.001, placed / rate - seconds(now - begun))))


def _grace() -> int:
    return nanoseconds(random.uniform(*_GRACE))  # noqa: S311 - orders differ, nothing is hidden


def main() -> None:
    """Place orders, and end with whoever started this."""
    if not kernel.die_with_parent(int(os.environ[DEMO_VARIABLE])):
        return
    path, rate, duration = sys.argv[1:]
    orders = Orders(Path(path))
    place_orders(orders, rate=float(rate), duration=float(duration), clock=Clock())
    orders.close()


if __name__ == "__main__":
    main()
