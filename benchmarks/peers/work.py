"""What the peers' services share: the work, and what they are told. It imports no library, theirs or ours."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from tests.faults.apps.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STANDING", "Work"]

STANDING = "standing"
"""What a service says once it is about to compete."""


class Work:
    """A row every millisecond while active: the same rows that the fault tests' bodies write.

    Attributes:
        name: Of this process.
        scope: What is competed for.
        server: Where the server is: a port of 127.0.0.1, or a file.
        ttl: Seconds.
        leaving: Whether SIGTERM has come: the service stops its work, releases, and leaves.
    """

    def __init__(self) -> None:
        self.name, self.scope = os.environ["BENCH_NAME"], os.environ["BENCH_SCOPE"]
        self.server, self.ttl = os.environ["BENCH_SERVER"], float(os.environ["BENCH_TTL"])
        self.leaving = False
        self._ledger = Ledger(os.environ["BENCH_ROWS"])
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, *_: object) -> None:
        self.leaving = True

    def stand(self) -> None:
        """Say that this process competes from now on."""
        sys.stdout.write(f"{STANDING}\n")
        sys.stdout.flush()

    def run(self, lost: Callable[[], bool]) -> None:
        """Work until it is lost, or until SIGTERM."""
        while not (self.leaving or lost()):
            self._ledger.write(0, self.name)
            time.sleep(0.001)

    async def run_in_loop(self) -> None:
        """Work until SIGTERM, or until cancelled."""
        while not self.leaving:
            self._ledger.write(0, self.name)
            await asyncio.sleep(0.001)
