"""The memory store keeps the contracts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from locum.clock import Clock
from locum.stores.memory import MemoryServer, MemoryStore, Wire
from locum.testing.conformance import (
    Ability,
    ElectionContract,
    GuardContract,
    IncarnationContract,
    JournalContract,
    LineContract,
    LockContract,
    LossContract,
    MembersContract,
    NamingContract,
    NodesContract,
    ObserverContract,
    OutageContract,
    ProcessContract,
    SessionContract,
    SharedContract,
    StoreContract,
    StoreHarness,
    WakeUpContract,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.store import Store

T = TypeVar("T")


class Road(Wire):
    """A wire that may be closed: then nothing comes through, and nothing says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def carry(self, call: str, request: Callable[[], T]) -> T:
        await self.open.wait()
        return await super().carry(call, request)


class MemoryHarness(StoreHarness):
    cannot: ClassVar = {Ability.CRASH: "it ends with its process, and does not promise to be there afterwards"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = MemoryServer("conformance", clock=Clock())
        self.road = Road()

    def make(self, namespace: str) -> Store:
        return MemoryStore(self.server, namespace=namespace, clock=Clock(), wire=self.road)

    def url(self) -> str:
        return self.server.url

    async def cut(self) -> None:
        self.road.open.clear()

    async def mend(self) -> None:
        self.road.open.set()

    async def wipe(self) -> None:
        self.server.wipe()

    async def save(self) -> None:
        self.saved = self.server.snapshot()

    async def put_back(self) -> None:
        self.server.restore(self.saved)


class TestMemory(
    StoreContract,
    SessionContract,
    ObserverContract,
    GuardContract,
    WakeUpContract,
    IncarnationContract,
    OutageContract,
    LossContract,
    ProcessContract,
    LineContract,
    ElectionContract,
    LockContract,
    SharedContract,
    NodesContract,
    MembersContract,
    NamingContract,
    JournalContract,
):
    harness = MemoryHarness
