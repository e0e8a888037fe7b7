"""One statement that changes something: what is told of it, and who is woken by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, bindparam, insert, select, update

from locum.clock import Clock
from locum.databases.hearing import hear
from locum.databases.opening import Purpose, opened
from locum.databases.schema import Schema, meta_table
from locum.databases.statement import Statement
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.scopes import Scope, happens
from tests.servers.databases import KINDS, database_url
from tests.servers.postgresql import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Dialect

_LONG = 30.0


class Numbers:
    """A ledger of one row."""

    def __init__(self, schema: str | None, store: str) -> None:
        metadata = MetaData(schema=schema)
        self.table = Table("numbers", metadata, Column("number", Integer, primary_key=True))
        self._schema, self._store = Schema(meta_table("numbers_meta", metadata), 1, 1), store

    def is_prepared(self, db: Connection) -> bool:
        return self._schema.is_prepared(db, self._store)

    def prepare(self, db: Connection) -> None:
        if not self.is_prepared(db):
            self._schema.prepare(db, self._store)
            db.execute(insert(self.table).values(number=1))

    def raising(self, dialect: Dialect) -> Statement:
        higher = update(self.table).where(self.table.c.number < bindparam("number")).values(number=bindparam("number"))
        return Statement.of(higher.returning(self.table.c.number), dialect)


def _load() -> Callable[[str | None, str, str], Numbers]:
    return lambda schema, _namespace, store: Numbers(schema, store)


_PURPOSE = Purpose("numbers", "state", _load)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as url:
        yield url


async def is_still(heard: asyncio.Event) -> bool:
    """Wait until nobody is woken any more; whether nobody was."""
    was_still = True
    while await happens(heard.wait(), within=0.3):
        was_still = False
        heard.clear()
    return was_still


async def test_it_says_whether_it_has_changed_anything_and_wakes_others_only_then(url: str) -> None:
    heard = asyncio.Event()
    async with (
        opened(url, _PURPOSE, namespace="billing", timeout=_LONG) as here,
        opened(url, _PURPOSE, namespace="billing", timeout=_LONG) as there,
        Scope("test") as scope,
    ):
        raising = here.ledger.raising(here.dialect)
        scope.spawn(hear(there, heard.set, Clock()), name="hear")
        await is_still(heard)  # on a server who listens is woken at first
        assert await here.tell(raising, {"number": 5})
        async with asyncio.timeout(_LONG):
            await heard.wait()
        await is_still(heard)
        assert not await here.tell(raising, {"number": 5})
        assert await is_still(heard)
        found = await asyncio.gather(*(one.tell(raising, {"number": 7}) for one in (here, there) * 4))
        assert sorted(found) == [False] * 7 + [True]
        assert await there.ask(lambda db: db.execute(select(there.ledger.table.c.number)).scalar_one()) == 7


async def test_what_the_database_refuses_was_not_done(url: str) -> None:
    async with opened(url, _PURPOSE, namespace="billing", timeout=_LONG) as database:
        wrong = Statement("UPDATE nowhere SET number = 1 RETURNING number", ())
        with pytest.raises(StoreUnavailableError, match="nowhere"):
            await database.tell(wrong, {})
        assert await database.tell(database.ledger.raising(database.dialect), {"number": 2}), "it goes on"


async def test_what_has_lost_its_connection_may_have_been_done(tmp_path: Path) -> None:
    with database_url("postgresql", tmp_path) as url:
        await _lose_the_connection(url)


async def _lose_the_connection(url: str) -> None:
    async with opened(url, _PURPOSE, namespace="billing", timeout=_LONG) as database:
        telling = asyncio.ensure_future(database.tell(Statement("SELECT 1 FROM pg_sleep(60)", ()), {}))
        active = "FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT 1 FROM pg_sl%'"
        ending = f"SELECT pg_terminate_backend(pid) {active}"
        async with asyncio.timeout(_LONG):
            while not shared().run(ending):  # noqa: ASYNC110 - it is the server that knows
                await asyncio.sleep(0.01)
        with pytest.raises(OutcomeUnknownError):
            await telling
        assert await database.tell(database.ledger.raising(database.dialect), {"number": 2})
