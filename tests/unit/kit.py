"""What these tests share: waiting, clocks that obey, stores and instances on a file."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from locum.clock import NANOSECONDS, Clock, nanoseconds
from locum.stores.sqlite import SqliteStore
from locum.testing.faults import FaultyStore
from locum.testing.instances import InProcessLeases, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

LONG = 20.0
"""Seconds after which something that takes milliseconds has not happened."""

T = TypeVar("T")


async def until(condition: Callable[[], object], what: str) -> None:
    """Ask again and again, for what nobody signals to this process."""
    try:
        async with asyncio.timeout(LONG):
            while not condition():  # noqa: ASYNC110 - what the kernel or another process does, nobody signals here
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def soon(awaitable: Awaitable[T]) -> T:
    """The outcome of something that must not take long."""
    async with asyncio.timeout(LONG):
        return await awaitable


async def turns(count: int = 20) -> None:
    """Let the event loop turn, for what needs no more than that."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_files() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


# -- time


class ShiftedClock(Clock):
    """The real clock, some time ahead."""

    def __init__(self) -> None:
        self.ahead = 0

    def shift(self, duration: float) -> None:
        self.ahead += nanoseconds(duration)

    def now(self) -> int:
        return super().now() + self.ahead


class ManualClock(Clock):
    """A clock that goes only when told to, or when somebody sleeps by it."""

    def __init__(self) -> None:
        self.instant = 1_000 * NANOSECONDS
        self.slept: list[float] = []

    def now(self) -> int:
        return self.instant

    def pass_by(self, duration: float) -> None:
        self.instant += nanoseconds(duration)

    async def sleep(self, duration: float) -> None:
        self.slept.append(duration)
        self.instant += max(0, nanoseconds(duration))
        await asyncio.sleep(0)


# -- stores and instances


@asynccontextmanager
async def opened(
    path: Path, *, namespace: str = "billing", clock: Clock | None = None, call_timeout: float = 10.0
) -> AsyncIterator[FaultyStore]:
    """An open store on a file."""
    store = FaultyStore(SqliteStore(path, namespace=namespace, clock=clock or Clock()))
    store.call_timeout = call_timeout
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def instance(path: Path, name: str, *, ttl: float = 60.0, clock: Clock | None = None) -> AsyncIterator[Instance]:
    """An instance on a store's file, with a session."""
    clock = clock or Clock()
    async with opened(path, clock=clock) as store, joined(store, name, ttl=ttl, clock=clock) as made:
        yield made


@asynccontextmanager
async def joined(store: FaultyStore, name: str, *, ttl: float = 60.0, clock: Clock) -> AsyncIterator[Instance]:
    """An instance on an open store, with a session."""
    leases = InProcessLeases(store, name, clock, ttl)
    await leases.begin()
    made = Instance(store, leases)
    try:
        yield made
    finally:
        await made.commons.close(patience=LONG)
        leases.close()
