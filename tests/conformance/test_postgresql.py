"""The PostgreSQL store keeps the contracts, on a real server."""

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
from tests.servers.postgresql import Postgresql, Schema, shared

if TYPE_CHECKING:
    from locum.store import Store


class PostgresqlHarness(StoreHarness):
    async def start(self) -> None:
        demand_server("postgresql", Postgresql.is_installed())
        self.schema = Schema(shared())

    async def stop(self) -> None:
        self.schema.drop()

    def make(self, namespace: str) -> Store:
        return make_store(self.url(), namespace=namespace, clock=Clock())

    def url(self) -> str:
        return self.schema.url()

    async def cut(self) -> None:
        self.schema.server.pause()

    async def mend(self) -> None:
        self.schema.server.resume()

    async def wipe(self) -> None:
        self.schema.wipe()

    async def save(self) -> None:
        self.schema.save()

    async def put_back(self) -> None:
        self.schema.put_back()

    async def crash(self) -> None:
        self.schema.server.restart()


class TestPostgresql(
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
    harness = PostgresqlHarness
