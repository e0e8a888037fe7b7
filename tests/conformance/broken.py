"""Drivers with a planted fault, for `test_broken.py`: each is the memory store but for one broken promise."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from locum.clock import Clock
from locum.errors import ConflictError
from locum.store import ABSENT, ANY
from locum.stores.memory import MemoryStore
from locum.stores.subscriptions import Subscriptions
from tests.conformance.test_memory import MemoryHarness
from tests.conformance.test_memory import TestMemory as Memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from locum.store import Change, Expect, Guarantees, Listing, Record, Store
    from locum.stores.memory import MemoryServer


class ReadsThenWrites(MemoryStore):
    """Its compare-and-set is a read, and then a write."""

    async def write(self, key: str, value: bytes, *, expect: Expect, **guards: str | None) -> Record:
        current = await self.read(key)
        if expect is not ANY and (current.revision if current else ABSENT) != expect:
            raise ConflictError(key, current)
        return await super().write(key, value, expect=ANY, **guards)


class DropsFirst(MemoryStore):
    """What is to go with a write goes before it, in a step of its own."""

    async def write(self, key: str, value: bytes, *, drop: str | None = None, **given: Any) -> Record:
        if drop is not None:
            await self.delete(drop, expect=ANY)
        return await super().write(key, value, **given)


class CountsWhatItShows(MemoryStore):
    """It counts the records of a listing, and not all that stand there."""

    async def list(self, prefix: str, **given: Any) -> Listing:
        listing = await super().list(prefix, **given)
        return replace(listing, count=len(listing.records))


class ForgetsTheDead(MemoryStore):
    """It clears a session away when that is closed: an id comes back."""

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        await super().close_session(session_id, reason=reason)
        namespace = self._server._of(self.namespace)
        if namespace.sessions.pop(session_id, None) is not None:
            namespace.closed_at.pop(session_id, None)


class ClearsBeforeItWaits(MemoryStore):
    """Whoever waits forgets first what came before: a wake-up is lost."""

    POLL_INTERVAL = 0.5

    def __init__(self, server: MemoryServer, **given: Any) -> None:
        super().__init__(server, **given)
        self._subscriptions = Subscriptions(self.POLL_INTERVAL)

    def guarantees(self) -> Guarantees:
        return replace(super().guarantees(), poll_interval=self.POLL_INTERVAL)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        async with super().changes(prefixes) as changes:
            yield _clearing(changes)


async def _clearing(changes: Any) -> AsyncIterator[Change]:
    while True:
        changes._woken.clear()
        yield await anext(changes)


def harness_of(driver: type[MemoryStore]) -> Any:
    """The memory store's harness, for another driver."""

    class BrokenHarness(MemoryHarness):
        def make(self, namespace: str) -> Store:
            return driver(self.server, namespace=namespace, clock=Clock(), wire=self.road)

    return BrokenHarness


class TestReadsThenWrites(Memory):
    harness = harness_of(ReadsThenWrites)


class TestDropsFirst(Memory):
    harness = harness_of(DropsFirst)


class TestCountsWhatItShows(Memory):
    harness = harness_of(CountsWhatItShows)


class TestForgetsTheDead(Memory):
    harness = harness_of(ForgetsTheDead)


class TestClearsBeforeItWaits(Memory):
    harness = harness_of(ClearsBeforeItWaits)
