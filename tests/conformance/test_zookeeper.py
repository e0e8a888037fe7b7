"""The ZooKeeper store keeps the contracts, on a real server; each test has a root of its own there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.clock import Clock
from locum.names import random_id
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
    OutageContract,
    ProcessContract,
    SessionContract,
    SharedContract,
    StoreContract,
    StoreHarness,
    WakeUpContract,
    demand_server,
)
from tests.servers.zookeeper import ZooKeeper, shared

if TYPE_CHECKING:
    from locum.store import Store


class ZooKeeperHarness(StoreHarness):
    server: ZooKeeper

    async def start(self) -> None:
        demand_server("zookeeper", ZooKeeper.is_installed())
        self.server = shared()
        self.root = "/warm"
        store = self.make("warm")  # Java's first answers take seconds: the deadlines of the tests are not for that
        store.call_timeout = 20.0
        await store.open()
        await store.close()
        self.root = f"/test-{random_id()}"

    def make(self, namespace: str) -> Store:
        return make_store(self.url(), namespace=namespace, clock=Clock())

    def url(self) -> str:
        return f"zookeeper://127.0.0.1:{self.server.port}{self.root}"

    async def cut(self) -> None:
        self.server.pause()

    async def mend(self) -> None:
        self.server.resume()

    async def stop(self) -> None:
        self.server.resume()

    async def wipe(self) -> None:
        self.server.wipe()

    async def save(self) -> None:
        self.server.save()

    async def put_back(self) -> None:
        self.server.put_back()

    async def crash(self) -> None:
        self.server.restart()


class TestZooKeeper(
    StoreContract,
    SessionContract,
    SharedContract,
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
    harness = ZooKeeperHarness
