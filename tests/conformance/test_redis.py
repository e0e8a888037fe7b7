"""The Redis store keeps the contracts, on a real server that is set up to keep what it has acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.clock import Clock
from locum.registry import make_store
from locum.testing.conformance import (
    DurabilityContract,
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
    demand_server,
)
from tests.servers.redis import Redis

if TYPE_CHECKING:
    from pathlib import Path

    from locum.store import Store


class RedisHarness(StoreHarness):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = Redis(folder / "server")

    async def start(self) -> None:
        demand_server("redis", Redis.is_installed())
        self.server.start()

    async def stop(self) -> None:
        self.server.stop()

    def make(self, namespace: str) -> Store:
        return make_store(self.url(), namespace=namespace, clock=Clock())

    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}"

    async def cut(self) -> None:
        self.server.pause()

    async def mend(self) -> None:
        self.server.resume()

    async def wipe(self) -> None:
        self.server.wipe()

    async def save(self) -> None:
        self.server.save()

    async def put_back(self) -> None:
        self.server.put_back()

    async def crash(self) -> None:
        self.server.restart()


class TestRedis(
    StoreContract,
    SessionContract,
    SharedContract,
    ObserverContract,
    GuardContract,
    WakeUpContract,
    IncarnationContract,
    OutageContract,
    LossContract,
    DurabilityContract,
    ProcessContract,
    LineContract,
    LockContract,
    ElectionContract,
    NodesContract,
    MembersContract,
    NamingContract,
    JournalContract,
):
    harness = RedisHarness
