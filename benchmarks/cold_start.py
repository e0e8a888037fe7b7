"""Opens a partition's state in a process of its own, and says what that took: `python -m benchmarks.cold_start URL`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from locum.state.database import opened
from locum.state.state import State


async def _start(url: str) -> dict[str, float]:
    async with opened(url, namespace="bench", timeout=30) as database:
        before, stood = _resident(), Stood()
        looking = asyncio.ensure_future(stood.look())
        async with State(database, "keys", "0") as state:
            looking.cancel()
            held = _resident() - before
            await state.promote(2)
            assert state.opened is not None
            assert state.promoted is not None
            return {
                "opened": state.opened.seconds,
                "keys": state.opened.keys,
                "records": state.opened.records + state.promoted.records,
                "promoted": state.promoted.seconds,
                "held": held,
                "stood": stood.longest,
            }


class Stood:
    """How long the event loop stood at the longest, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def look(self) -> None:
        """Look every millisecond."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - before - 0.001)


def _resident() -> int:
    """Bytes of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_start(sys.argv[1]))))
