"""One process with many waiters for one lock, each of which holds it once; it counts the calls to its store.

Arguments: the store's URL; how many waiters, and how many stand in line in the end; the file in which whoever holds the
lock writes its attempt; the file that says that all stand in line and, in the end, how many calls that took from then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from locum import Coordinator
from locum.coordination.line import line_prefix
from locum.scopes import Scope, run
from tests.faults.kit.calls import count_calls

if TYPE_CHECKING:
    from locum.coordination.lock import Lock
    from tests.faults.kit.calls import CountedStore

URL, NUMBER, ALL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TURNS, TOLD = Path(sys.argv[4]), Path(sys.argv[5])


def write(turn: str) -> None:
    """Write who holds it down: one at a time, if the lock is good for anything."""
    with TURNS.open("a") as file:
        file.write(turn)


async def wait(lock: Lock) -> None:
    """One waiter."""
    async with lock as held:
        write(f"{lock.claim_of(held).attempt}\n")


async def quiet(store: CountedStore) -> int:
    """Wait until all stand in line and have looked; how many calls that took."""
    prefix = line_prefix("lock/busy")
    while len((await store.list(prefix)).records) < ALL:  # noqa: ASYNC110 - others may stand there too
        await asyncio.sleep(0.05)
    before = -1
    while before != store.count:
        before = store.count
        await asyncio.sleep(3.0)
    return before


async def main() -> None:
    stores = count_calls()
    async with Coordinator.connect(URL, ttl=60.0) as connected, Scope("waiters") as scope:
        store = stores[0]  # the second one is the keeper's
        waiters = [scope.spawn(wait(connected.lock("busy")), name=str(number)) for number in range(NUMBER)]
        before = await quiet(store)
        TOLD.write_text("in line")  # noqa: ASYNC240 - a test reads it
        await asyncio.wait(waiters)
        while connected._commons._settlers:  # noqa: ASYNC110 - every release is to be counted
            await asyncio.sleep(0.01)
        TOLD.write_text(str(store.count - before))  # noqa: ASYNC240 - the same


run(main())
