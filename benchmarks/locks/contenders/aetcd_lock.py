"""aetcd's Lock: a key under a lease; whoever waits watches for its end."""

from __future__ import annotations

import asyncio
from functools import partial

import aetcd

from benchmarks.locks.turns import Turns, in_groups


async def main() -> None:
    """Turns, or many."""
    turns = Turns()
    async with aetcd.Client(port=int(turns.server)) as client:
        if turns.many:
            locks = [client.lock(name.encode(), ttl=int(turns.ttl)) for name in turns.names]
            turns.begin_many()
            await in_groups([partial(each.acquire, timeout=None) for each in locks])
            turns.had_many()
            held = [await each.is_acquired() for each in locks]
            await asyncio.to_thread(turns.hold_many, held)
            await in_groups([each.release for each in locks])
            turns.gave_many()
            return
        lock = client.lock(turns.scope.encode(), ttl=int(turns.ttl))
        await turns.run_in_loop(lambda: lock.acquire(timeout=None), lock.release)


if __name__ == "__main__":
    asyncio.run(main())
