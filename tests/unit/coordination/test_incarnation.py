"""Candidates and an exchanged store: nothing is won in quarantine, and no token falls (R24, R25)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.clock import nanoseconds
from locum.floor import Floor
from locum.testing.faults import FaultyStore
from locum.testing.instances import Instance
from tests.unit.kit import instance, opened, soon, turns, until

if TYPE_CHECKING:
    from pathlib import Path

    from locum.keeper.lease import Lease

TTL = nanoseconds(60)


def delete(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


async def test_nothing_is_won_in_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as operator, instance(path, "one") as one:
        seen = await operator.renew(max_ttl=TTL)
        await one.store.adopt(max_ttl=TTL)
        one.leases.lose("the store has begun a new incarnation")
        await one.leases.begin()
        winning = asyncio.create_task(one.election("settle").win())
        await until(lambda: one.store.answered("list", "line/"), "a look at the line")
        await turns(50)
        assert not winning.done()
        assert await operator.lift_quarantine(seen.incarnation)
        term = await soon(winning)
        await one.election("settle").resign(term, "done")


async def test_who_meets_another_store_lifts_the_floor_to_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with instance(path, "one") as one:
        for _ in range(3):
            term = await soon(one.election("settle").win())
            await one.election("settle").resign(term, "done")
        delete(path)
        one.leases.lose("the store is gone")
        async with opened(path) as keeper:
            keeper.seen = one.store.seen
            seen = await keeper.adopt(max_ttl=TTL)
            await one.commons.meet(await beginning(one, keeper))
            assert (await Floor.read(keeper)).token == 3
            assert await keeper.lift_quarantine(seen.incarnation)
            assert (await soon(one.election("settle").win())).token == 4


async def beginning(one: Instance, keeper: FaultyStore) -> Lease:
    """A new session in the store that the keeper sees."""
    real, one.leases._store = one.leases._store, keeper
    try:
        return await one.leases.begin()
    finally:
        one.leases._store = real
