"""Locum's Lock: fair, with a token, cancelled when it is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.locks.turns import Turns, in_groups
from locum import Coordinator

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


async def main() -> None:
    """Turns, or many."""
    turns = Turns()
    async with Coordinator.connect(turns.server, ttl=turns.ttl) as coordinator:
        if turns.many:
            holds = [coordinator.lock(name).hold() for name in turns.names]
            turns.begin_many()
            terms = await in_groups([hold.__aenter__ for hold in holds])
            turns.had_many()
            await asyncio.to_thread(turns.hold_many, [term.is_current for term in terms])
            await in_groups([partial(hold.__aexit__, None, None, None) for hold in holds])
            turns.gave_many()
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
