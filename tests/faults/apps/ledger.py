"""What bodies write their rows with, and how they hear a test's orders."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["Ledger", "take_order"]


_AHEAD = int(os.environ.get("FAULTS_BOOT_AHEAD", "0")) * 10**9  # of the boot clock of this time namespace


class Ledger:
    """The file of rows: one atomic append a row, so that its order is the order of the writing.

    Their instants can be compared with each other, also where they come from different time namespaces.
    """

    def __init__(self, path: str | None = None) -> None:
        self._fd = os.open(path or os.environ["FAULTS_ROWS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, token: int, who: str = "body") -> None:
        """Write a row."""
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _AHEAD
        os.write(self._fd, f"{at} {os.getpid()} {token} {who}\n".encode())

    def write_for_ever(self, token: int, who: str) -> None:
        """Write a row every millisecond until somebody ends this process."""
        while True:
            self.write(token, who)
            time.sleep(0.001)


_ORDER = Path(os.environ.get("FAULTS_ORDER", "no-orders"))
_OWN_ORDER = _ORDER.with_name(f"{_ORDER.name}-{os.environ.get('LOCUM_INSTANCE', '')}")


def take_order(*, own: bool = False) -> list[str]:
    """The words of an order that a test has given to the active one, or to this instance; it is followed once."""
    order = _OWN_ORDER if own else _ORDER
    try:
        words = order.read_text().split()
        order.unlink()
    except FileNotFoundError:
        return []
    return words
