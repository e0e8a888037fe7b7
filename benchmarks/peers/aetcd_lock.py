"""aetcd's Lock: a key under a lease, which a task of the user's own refreshes, as the Lock's documentation shows it."""

from __future__ import annotations

import asyncio

import aetcd

from benchmarks.peers.work import Work


async def renew(lock: aetcd.locks.Lock, interval: float) -> None:
    """Refresh the lease again and again; return when the lock is another's by now."""
    while True:
        await asyncio.sleep(interval)
        try:
            await lock.refresh()
            if not await lock.is_acquired():
                return
        except aetcd.exceptions.ClientError:
            return


async def main() -> None:
    """Work while the lock is held; stand in line again when it is lost."""
    work = Work()
    async with aetcd.Client(port=int(work.server)) as client:
        work.stand()
        while not work.leaving:
            lock = client.lock(work.scope.encode(), ttl=int(work.ttl))
            await lock.acquire(timeout=None)
            tasks = [asyncio.create_task(work.run_in_loop()), asyncio.create_task(renew(lock, work.ttl / 3))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await lock.release()


if __name__ == "__main__":
    asyncio.run(main())
