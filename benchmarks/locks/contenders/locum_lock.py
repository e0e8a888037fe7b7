"""Locum's Lock: fair, with a token, cancelled when it is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from benchmarks.locks.turns import Turns
from locum import Coordinator

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


async def main() -> None:
    """Turns, or many."""
    turns = Turns()
    async with Coordinator.connect(turns.server, ttl=turns.ttl) as coordinator:
        if turns.many:
            async with AsyncExitStack() as stack:
                locks = [coordinator.lock(name) for name in turns.names]
                turns.begin_many()
                await asyncio.gather(*(stack.enter_async_context(lock.hold()) for lock in locks))
                turns.have_many()
            return
        lock = coordinator.lock(turns.scope)
        held: list[AbstractAsyncContextManager[object]] = []

        async def take() -> None:
            held.append(lock.hold())
            await held[-1].__aenter__()

        async def give_back() -> None:
            await held.pop().__aexit__(None, None, None)

        await turns.run_in_loop(take, give_back)


if __name__ == "__main__":
    asyncio.run(main())
