"""aetcd's Lock: a key under a lease; whoever waits watches for its end."""

from __future__ import annotations

import asyncio

import aetcd

from benchmarks.locks.turns import Turns


async def main() -> None:
    """Turns, or many."""
    turns = Turns()
    async with aetcd.Client(port=int(turns.server)) as client:
        if turns.many:
            locks = [client.lock(name.encode(), ttl=int(turns.ttl)) for name in turns.names]
            turns.begin_many()
            await asyncio.gather(*(each.acquire(timeout=None) for each in locks))
            turns.have_many()
            return
        lock = client.lock(turns.scope.encode(), ttl=int(turns.ttl))
        await turns.run_in_loop(lambda: lock.acquire(timeout=None), lock.release)


if __name__ == "__main__":
    asyncio.run(main())
