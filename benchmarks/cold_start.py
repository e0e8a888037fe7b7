"""Opens a partition's state in a process of its own, and says what that took: `python -m benchmarks.cold_start URL`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from locum.state.database import opened
from locum.state.state import State


async def _start(url: str) -> dict[str, float]:
    async with opened(url, namespace="bench", timeout=30) as database:
        before = _resident()
        async with State(database, "keys", "0") as state:
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
            }


def _resident() -> int:
    """Bytes of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_start(sys.argv[1]))))
