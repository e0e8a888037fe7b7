"""aetcd: keys under one lease that a task of the user's own refreshes; the watch of a prefix tells what has changed."""

from __future__ import annotations

import asyncio

import aetcd

from benchmarks.locks.watching import Watching

_PATIENCE = 60.0


async def renew(lease: aetcd.leases.Lease, interval: float) -> None:
    """Refresh the lease again and again."""
    while True:
        await asyncio.sleep(interval)
        await lease.refresh()


async def crowd(watching: Watching, client: aetcd.Client) -> None:
    """Be a thousand, under one lease, until the word."""
    lease = await client.lease(int(watching.ttl))
    renewal = asyncio.create_task(renew(lease, watching.ttl / 3))
    for number in range(watching.members):
        await client.put(f"{watching.scope}/{number}".encode(), b"{}", lease=lease)
    await asyncio.to_thread(watching.stand)
    renewal.cancel()


async def watch(watching: Watching, client: aetcd.Client) -> None:
    """Watch by one connection while one of another's comes and goes."""
    prefix, key = f"{watching.scope}/".encode(), f"{watching.scope}/more".encode()
    async with aetcd.Client(port=int(watching.server)) as watcher:
        present = {found.key for found in await watcher.get_prefix(prefix)}
        assert len(present) == watching.members, f"{len(present)} keys are there"
        states: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        events = await watcher.watch_prefix(prefix)

        async def follow() -> None:
            async for event in events:
                (present.add if event.kind == aetcd.EventKind.PUT else present.discard)(event.kv.key)
                states.put_nowait((len(present), watching.now()))

        async def shown(number: int) -> int:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    found, at = await states.get()
                    if found == number:
                        return at

        following = asyncio.create_task(follow())
        lease = await client.lease(int(watching.ttl))
        renewal = asyncio.create_task(renew(lease, watching.ttl / 3))
        await asyncio.to_thread(watching.stand)
        for _ in range(watching.changes):
            joining = watching.now()
            await client.put(key, b"{}", lease=lease)
            joined = await shown(watching.members + 1)
            leaving = watching.now()
            await client.delete(key)
            watching.note(joining, joined, leaving, await shown(watching.members))
        watching.tell()
        renewal.cancel()
        following.cancel()


async def main() -> None:
    """The crowd, or the watch."""
    watching = Watching()
    async with aetcd.Client(port=int(watching.server)) as client:
        await (crowd if watching.is_crowd else watch)(watching, client)


if __name__ == "__main__":
    asyncio.run(main())
