"""Has the lock of whoever computes the plan of a sharded service, and computes nothing.

Usage: idler.py SERVICE NAME: stands in line under that name, until this process ends.
"""

from __future__ import annotations

import asyncio
import os
import sys

from locum.coordination.coordinator import Coordinator
from locum.coordination.lock import Lock


async def main(service: str, name: str) -> None:
    """Stand in line, and hold it."""
    store, ttl = os.environ["LOCUM_STORE"], float(os.environ["LOCUM_TTL"])
    async with (
        Coordinator.connect(store, namespace="faults", ttl=ttl, instance=name) as coordinator,
        Lock(coordinator._commons, service, kind="shards").hold(),
    ):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
