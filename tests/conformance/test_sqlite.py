"""The SQLite store keeps the contracts."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from locum.clock import Clock
from locum.stores.sqlite import SqliteStore
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
)

if TYPE_CHECKING:
    from locum.store import Store

PARTS = ("", "-wal", "-shm")


class SqliteHarness(StoreHarness):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "store.db"

    def make(self, namespace: str) -> Store:
        return SqliteStore(self.path, namespace=namespace, clock=Clock())

    def url(self) -> str:
        return f"sqlite:///{self.path}"

    async def cut(self) -> None:
        """Another process sits on the writers' queue: to a lock, each open file is another one."""
        self._queue = os.open(self.path.with_name("store.db-queue"), os.O_RDWR)
        fcntl.flock(self._queue, fcntl.LOCK_EX)

    async def mend(self) -> None:
        os.close(self._queue)

    async def wipe(self) -> None:
        for part in PARTS:
            self.path.with_name("store.db" + part).unlink(missing_ok=True)

    async def save(self) -> None:
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(self.folder / "saved.db")) as copy:
            source.backup(copy)

    async def put_back(self) -> None:
        await self.wipe()
        shutil.copy(self.folder / "saved.db", self.path)

    async def crash(self) -> None:
        """Nobody closes anything: what the kernel has of the files is all that is left."""
        for part in ("", "-wal"):
            shutil.copy(self.path.with_name("store.db" + part), self.folder / f"crashed.db{part}")
        self.path = self.folder / "crashed.db"


class TestSqlite(
    StoreContract,
    SessionContract,
    ObserverContract,
    GuardContract,
    WakeUpContract,
    IncarnationContract,
    OutageContract,
    LossContract,
    DurabilityContract,
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
    harness = SqliteHarness
