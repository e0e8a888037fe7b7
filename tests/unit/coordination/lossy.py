"""A store whose wake-ups are lost and doubled, and an instance on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from locum.clock import Clock
from locum.stores.memory import MemoryServer, MemoryStore
from locum.testing.faults import FaultyStore
from tests.unit.kit import LONG, joined

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Sequence

    from locum.store import Change, Guarantees
    from locum.testing.instances import Instance

__all__ = ["LossyStore", "on"]


class LossyStore(FaultyStore):
    """Its wake-ups are lost and doubled, also those that come because nothing has come for long."""

    def __init__(self, server: MemoryServer, chance: random.Random) -> None:
        super().__init__(MemoryStore(server, namespace="billing", clock=Clock()))
        self.chance, self.loses_all = chance, False
        self.lost = self.doubled = 0

    def guarantees(self) -> Guarantees:
        return replace(super().guarantees(), poll_interval=0.05)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        async with super().changes(prefixes) as changes:
            yield _Lossy(self, changes)


class _Lossy:
    def __init__(self, store: LossyStore, changes: AsyncIterator[Change]) -> None:
        self._store, self._changes = store, changes
        self._again: Change | None = None

    def __aiter__(self) -> _Lossy:
        return self

    async def __anext__(self) -> Change:
        again, self._again = self._again, None
        if again is not None:
            return again
        while True:
            change = await anext(self._changes)
            if self._store.loses_all or self._store.chance.random() < 0.4:
                self._store.lost += 1
                continue
            if self._store.chance.random() < 0.5:
                self._store.doubled += 1
                self._again = change
            return change


@asynccontextmanager
async def on(store: FaultyStore, name: str) -> AsyncIterator[Instance]:
    """An instance on a store that was only made."""
    store.call_timeout = LONG
    await store.open()
    try:
        async with joined(store, name, clock=Clock()) as made:
            yield made
    finally:
        await store.close()
