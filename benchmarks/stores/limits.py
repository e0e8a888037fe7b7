"""What a store can do at best, through Locum's driver: a write, and the news of one at another connection."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from benchmarks.stores import TOLD, WRITE
from locum.clock import Clock
from locum.registry import make_store
from locum.store import ANY

if TYPE_CHECKING:
    from locum.store import Store

__all__ = ["measured"]

_KEY = "node/bench"
_PATIENCE = 10.0


def measured(url: str, n: int) -> dict[str, list[float]]:
    """Milliseconds of `n` writes, and of as many until another connection has heard of one."""
    return asyncio.run(_measured(url, n))


async def _measured(url: str, n: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {WRITE: [], TOLD: []}
    async with AsyncExitStack() as stack:
        writer, hearer = [await _opened(url, stack) for _ in range(2)]
        heard = asyncio.Event()
        listening = asyncio.create_task(_listen(hearer, heard))
        stack.callback(listening.cancel)
        await asyncio.sleep(0.2)  # until it listens
        for number in range(n):
            heard.clear()
            begun = time.perf_counter_ns()
            await writer.write(_KEY, str(number).encode(), expect=ANY)
            found[WRITE].append((time.perf_counter_ns() - begun) / 1e6)
            async with asyncio.timeout(_PATIENCE):
                await heard.wait()
            found[TOLD].append((time.perf_counter_ns() - begun) / 1e6)
    return found


async def _opened(url: str, stack: AsyncExitStack) -> Store:
    store = make_store(url, namespace="bench", clock=Clock())
    store.call_timeout = _PATIENCE
    await store.open()
    stack.push_async_callback(store.close)
    return store


async def _listen(store: Store, heard: asyncio.Event) -> None:
    async with store.changes([_KEY]) as changes:
        async for _ in changes:
            heard.set()
