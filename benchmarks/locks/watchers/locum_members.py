"""Locum's members: a watch shows who is here, read from the store at each wake-up; the calls are counted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.locks.turns import in_groups
from benchmarks.locks.watching import Watching
from locum import Coordinator
from tests.faults.kit.calls import count_calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.members import Member, Members


async def crowd(watching: Watching) -> None:
    """Be a thousand, with one session, until the word."""
    async with (
        Coordinator.connect(watching.server, ttl=watching.ttl, instance="crowd") as connected,
        AsyncExitStack() as stack,
    ):
        group = connected.members(watching.scope)
        await in_groups([partial(stack.enter_async_context, group.join()) for _ in range(watching.members)])
        await asyncio.to_thread(watching.stand)


async def stay(group: Members, leave: asyncio.Event) -> None:
    """Be one more, until asked to leave."""
    async with group.join():
        await leave.wait()


async def shown(states: AsyncIterator[tuple[Member, ...]], number: int) -> int:
    """Wait until so many are shown; when that was."""
    async for members in states:
        if len(members) == number:
            return Watching.now()
    raise AssertionError("the watch has ended")


async def watch(watching: Watching) -> None:
    """Watch with one session while one of another's comes and goes."""
    stores, connect = count_calls(), Coordinator.connect
    async with AsyncExitStack() as stack:
        joiner = await stack.enter_async_context(connect(watching.server, ttl=watching.ttl, instance="joiner"))
        watcher = await stack.enter_async_context(connect(watching.server, ttl=watching.ttl, instance="watcher"))
        joins, _, looks, _ = stores  # every second one is a keeper's
        group = joiner.members(watching.scope)
        states = await stack.enter_async_context(aclosing(watcher.members(watching.scope).watch()))
        await shown(states, watching.members)
        await asyncio.to_thread(watching.stand)
        before = joins.count, looks.count
        for _ in range(watching.changes):
            leave = asyncio.Event()
            joining = watching.now()
            staying = asyncio.create_task(stay(group, leave))
            joined = await shown(states, watching.members + 1)
            leaving = watching.now()
            leave.set()
            left = await shown(states, watching.members)
            await staying
            watching.note(joining, joined, leaving, left)
        made = 2 * watching.changes
        watching.calls["calls a change, joiner"] = (joins.count - before[0]) / made
        watching.calls["calls a change, watcher"] = (looks.count - before[1]) / made
        watching.tell()


async def main() -> None:
    watching = Watching()
    await (crowd(watching) if watching.is_crowd else watch(watching))


if __name__ == "__main__":
    asyncio.run(main())
