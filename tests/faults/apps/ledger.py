"""What bodies write their rows with, and how they hear a test's orders."""

from __future__ import annotations

import os
import time
from pathlib import Path

from locum import testing
from locum.clock import Clock

__all__ = ["Ledger", "take_order"]


_AHEAD = int(os.environ.get("FAULTS_BOOT_AHEAD", "0")) * 10**9  # of the boot clock of this time namespace


class _Clock(Clock):
    """The boot clock as it is outside of this time namespace."""

    def now(self) -> int:
        return super().now() - _AHEAD


class Ledger(testing.Ledger):
    """The file of rows, whose instants can be compared with each other, also from different time namespaces."""

    def __init__(self, path: str | None = None) -> None:
        super().__init__(path or os.environ["FAULTS_ROWS"], clock=_Clock())
        self.path.touch()  # children may open it before our own first row

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
