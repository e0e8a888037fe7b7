"""The token inside the user's own database, over every library that is known (R21)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from locum.coordination.fence import Fence, fence_of
from locum.errors import StaleTermError, TermEndedError, UnsupportedError
from locum.testing.instances import Instance
from tests.unit.coordination import fencing
from tests.unit.coordination.fencing import SCOPE, term_of
from tests.unit.kit import instance, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIBRARIES = ["sqlite3", "aiosqlite", "engine", "async engine", "connection", "async connection"]


class Database:
    """The user's database, reached through one library.

    Attributes:
        target: What the user gives to `term.transaction` and `host.fence`.
    """

    def __init__(self, path: Path, target: Any) -> None:
        self.path, self.target = path, target

    @classmethod
    @asynccontextmanager
    async def of(cls, library: str, path: Path) -> AsyncIterator[Database]:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
        if library == "sqlite3":
            with closing(sqlite3.connect(path)) as plain:
                yield cls(path, plain)
        elif library == "aiosqlite":
            async with aiosqlite.connect(path) as plain_async:
                yield cls(path, plain_async)
        elif library in ("engine", "connection"):
            engine = sqlalchemy.create_engine(f"sqlite:///{path}")
            if library == "engine":
                yield cls(path, engine)
            else:
                with engine.connect() as connected:
                    yield cls(path, connected)
            engine.dispose()
        else:
            async_engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
            if library == "async engine":
                yield cls(path, async_engine)
            else:
                async with async_engine.connect() as connected_async:
                    yield cls(path, connected_async)
            await async_engine.dispose()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection as the user works with it."""
        if type(self.target).__name__ == "AsyncEngine":
            async with self.target.connect() as connection:
                yield connection
        elif type(self.target).__name__ == "Engine":
            with self.target.connect() as connection:
                yield connection
        else:
            yield self.target

    async def end(self, connection: Any, how: str) -> None:
        await fencing.done(getattr(connection, how)())

    async def insert(self, connection: Any, number: int) -> None:
        text = f"INSERT INTO orders VALUES ({number})"
        await fencing.done(
            connection.execute(text if "sqlite" in type(connection).__module__ else sqlalchemy.text(text))
        )

    def orders(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM orders")]

    def highest(self) -> int | None:
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute("SELECT highest FROM locum_fence WHERE scope = ?", (SCOPE,)).fetchone()
        return found[0] if found else None


@pytest.fixture(params=LIBRARIES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.of(request.param, tmp_path / "orders.db") as database:
        yield database


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.of("sqlite3", tmp_path / "orders.db") as database:
        yield database


async def opened(database: Database) -> Fence:
    return await fencing.opened(database.target)


# -- with Term.transaction


async def test_a_current_term_writes_and_its_token_is_the_highest(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(database))
    async with term.transaction(database.target) as connection:
        await database.insert(connection, 1)
    async with term.transaction(database.target) as connection:
        await database.insert(connection, 2)
    assert database.orders() == [1, 2]
    assert database.highest() == 7


async def test_f69_a_stale_term_is_refused_and_nothing_is_written(database: Database, one: Instance) -> None:
    old, new = await term_of(one, 7), await term_of(one, 8)
    await old.raise_fence(await opened(database))
    await new.raise_fence(await opened(database))
    with pytest.raises(StaleTermError) as refusal:
        async with old.transaction(database.target) as connection:
            await database.insert(connection, 1)
    assert (refusal.value.scope, refusal.value.token, refusal.value.highest) == (SCOPE, 7, 8)
    async with new.transaction(database.target) as connection:
        await database.insert(connection, 2)
    assert database.orders() == [2]


async def test_an_error_rolls_back(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(database))
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012 - the error comes from the middle of it
        async with term.transaction(database.target) as connection:
            await database.insert(connection, 1)
            raise RuntimeError("boom")
    assert database.orders() == []
    async with term.transaction(database.target) as connection:
        await database.insert(connection, 2)
    assert database.orders() == [2]


async def test_a_term_that_is_over_begins_nothing(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(database))
    one.leases.lose("fell silent")
    with pytest.raises(TermEndedError, match="fell silent"):
        async with term.transaction(database.target):
            raise AssertionError("it must not be begun")
    with pytest.raises(TermEndedError):
        await term.fence(database.target)


async def test_an_open_transaction_holds_up_a_raise_until_it_ends(database: Database, one: Instance) -> None:
    old, new = await term_of(one, 7), await term_of(one, 8)
    fence, other = await opened(database), await opened(database)
    await old.raise_fence(fence)
    async with old.transaction(database.target) as connection:
        await database.insert(connection, 1)
        with pytest.raises(TimeoutError, match=r"an older transaction holds the fence in .*orders"):
            await other.raise_to(SCOPE, 8, timeout=0.03)
        raising = asyncio.ensure_future(new.raise_fence(other))
        await asyncio.sleep(0.02)
        assert not raising.done()
    await soon(raising)
    assert (database.orders(), database.highest()) == ([1], 8)


# -- with Term.fence, inside the user's own transaction


async def test_a_current_term_is_let_through_in_the_users_transaction(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(database))
    async with database.connection() as connection:
        await database.insert(connection, 1)  # begins a transaction
        await term.fence(connection)
        await database.end(connection, "commit")
    assert database.orders() == [1]


async def test_f69_a_stale_term_is_refused_in_the_users_transaction(database: Database, one: Instance) -> None:
    old, new = await term_of(one, 7), await term_of(one, 8)
    await old.raise_fence(await opened(database))
    await new.raise_fence(await opened(database))
    async with database.connection() as connection:
        await database.insert(connection, 1)
        with pytest.raises(StaleTermError, match="roll back"):
            await old.fence(connection)
        await database.end(connection, "rollback")
    assert database.orders() == []


async def test_after_the_check_no_raise_overtakes_the_transaction(database: Database, one: Instance) -> None:
    old = await term_of(one, 7)
    await old.raise_fence(await opened(database))
    async with database.connection() as connection:
        await database.insert(connection, 1)
        await old.fence(connection)
        with pytest.raises(TimeoutError):
            await (await opened(database)).raise_to(SCOPE, 8, timeout=0.03)
        await database.end(connection, "commit")
    await (await opened(database)).raise_to(SCOPE, 8, timeout=5)


async def test_without_a_transaction_a_check_is_an_error(plain: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(plain))
    with (
        closing(sqlite3.connect(plain.path, isolation_level=None)) as connection,  # each statement for itself
        pytest.raises(UnsupportedError, match="begin one first"),
    ):
        await term.fence(connection)
    async with aiosqlite.connect(plain.path, isolation_level=None) as other:
        with pytest.raises(UnsupportedError, match="begin one first"):
            await term.fence(other)


async def test_an_unregistered_database_is_fenced_from_its_first_use_on_and_warned_of_once(
    database: Database, one: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    term = await term_of(one, 7)
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            async with term.transaction(database.target) as connection:
                await database.insert(connection, number)
        async with database.connection() as connection:
            await database.insert(connection, 3)
            await term.fence(connection)
            await database.end(connection, "commit")
    assert database.orders() == [1, 2, 3]
    assert database.highest() == 7
    warnings = [
        record.getMessage() for record in caplog.records if "register it with host.fence" in record.getMessage()
    ]
    assert len(warnings) == 1


async def test_an_unregistered_database_is_fenced_in_the_users_transaction_too(
    database: Database, one: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    term = await term_of(one, 7)
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            async with database.connection() as connection:
                await database.insert(connection, number)
                await term.fence(connection)
                await database.end(connection, "commit")
    assert (database.orders(), database.highest()) == ([1, 2], 7)
    assert len([record for record in caplog.records if "register it" in record.getMessage()]) == 1
    async with database.connection() as connection:
        await database.insert(connection, 3)
        with pytest.raises(StaleTermError):
            await (await term_of(one, 6)).fence(connection)
        await database.end(connection, "rollback")


async def test_a_first_use_that_is_rolled_back_does_not_make_the_term_stale(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    async with database.connection() as connection:
        await database.insert(connection, 1)
        await term.fence(connection)
        await database.end(connection, "rollback")
    async with database.connection() as connection:
        await database.insert(connection, 2)
        await term.fence(connection)
        await database.end(connection, "commit")
    assert (database.orders(), database.highest()) == ([2], 7)


# -- raising


async def test_a_raise_is_seen_at_once(plain: Database) -> None:
    fence = await opened(plain)
    for token in (3, 9):
        await fence.raise_to(SCOPE, token, timeout=5)
        assert plain.highest() == token


async def test_a_fence_is_never_lowered_and_says_what_it_has_seen(plain: Database) -> None:
    fence = await opened(plain)
    await fence.raise_to(SCOPE, 9, timeout=5)
    with pytest.raises(StaleTermError) as refusal:
        await fence.raise_to(SCOPE, 8, timeout=5)
    assert refusal.value.highest == 9
    assert plain.highest() == 9


async def test_a_token_that_the_fence_knows_is_no_new_term_s(plain: Database) -> None:
    """A store that was put back gives a token out again; a term of it must not pass for the one that had it (R21)."""
    fence = await opened(plain)
    await fence.raise_to(SCOPE, 4, timeout=5)
    with pytest.raises(StaleTermError):
        await fence.raise_to(SCOPE, 4, timeout=5)


async def test_a_term_that_meets_its_fence_twice_raises_it_once(plain: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    await term.raise_fence(await opened(plain))
    await term.raise_fence(await opened(plain))
    assert term.is_current


async def test_scopes_have_rows_of_their_own(plain: Database) -> None:
    fence = await opened(plain)
    await fence.raise_to(SCOPE, 9, timeout=5)
    await fence.raise_to("billing/election/other", 1, timeout=5)
    assert plain.highest() == 9


async def test_many_raises_at_once_end_with_the_highest(plain: Database) -> None:
    fence = await opened(plain)
    outcomes = await soon(
        asyncio.gather(*(fence.raise_to(SCOPE, token, timeout=20) for token in range(1, 11)), return_exceptions=True)
    )
    assert plain.highest() == 10
    assert all(outcome is None or isinstance(outcome, StaleTermError) for outcome in outcomes)


async def test_a_reader_of_the_users_does_not_make_a_raise_fail_for_good(plain: Database) -> None:
    fence = await opened(plain)
    with closing(sqlite3.connect(plain.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM orders").fetchall()
        raising = asyncio.ensure_future(fence.raise_to(SCOPE, 1, timeout=20))
        await asyncio.sleep(0.02)
        reader.execute("COMMIT")
        await soon(raising)
    assert plain.highest() == 1


# -- before a term's body (R20, R21)


async def test_registered_fences_are_raised_before_the_body(plain: Database, one: Instance) -> None:
    one.fences.append(await opened(plain))
    term = await soon(one.election("settlement").win())
    assert plain.highest() == term.token == 1


async def test_a_fence_that_has_seen_more_becomes_the_floor_and_the_next_token_is_above_it(
    plain: Database, one: Instance
) -> None:
    fence = await opened(plain)
    await fence.raise_to(SCOPE, 41, timeout=5)
    one.fences.append(fence)
    term = await soon(one.election("settlement").win())
    assert term.token == 42 == plain.highest()


async def test_a_fence_that_stays_held_gives_the_term_up_with_the_reason(plain: Database, tmp_path: Path) -> None:
    async with instance(tmp_path / "other.db", "web-2", ttl=0.5) as short:
        short.fences.append(await opened(plain))
        with closing(sqlite3.connect(plain.path, isolation_level=None)) as older:
            older.execute("BEGIN IMMEDIATE")
            with pytest.raises(TimeoutError, match="an older transaction holds the fence"):
                await soon(short.election("settlement").win())
        assert not short.leases.armed


# -- what can be fenced


@pytest.mark.parametrize("attribute", ["engine", "connection"])
async def test_an_object_that_has_a_database_is_fenced_as_that(attribute: str, plain: Database) -> None:
    orders = type("Orders", (), {attribute: plain.target})()
    assert fence_of(orders).database == f"sqlite:{plain.path}"


@pytest.mark.parametrize("target", [None, 7, "orders.db", object(), sqlite3])
def test_what_is_no_database_is_refused_with_what_would_be(target: object) -> None:
    with pytest.raises(UnsupportedError, match="is no database that can be fenced: give a connection of sqlite3"):
        fence_of(target)


async def test_an_in_memory_database_is_refused() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(UnsupportedError, match="use a file"):
        fence_of(connection)
    async with aiosqlite.connect(":memory:") as connection_async:
        with pytest.raises(UnsupportedError, match="use a file"):
            await fence_of(connection_async).open()
    with pytest.raises(UnsupportedError, match="use a file"):
        fence_of(sqlalchemy.create_engine("sqlite://"))


def test_another_dialect_is_refused() -> None:
    engine = sqlalchemy.create_mock_engine("mssql+pymssql://", lambda *_: None)
    fake = type("Engine", (), {"dialect": engine.dialect, "__module__": "sqlalchemy.engine"})()
    with pytest.raises(UnsupportedError, match="mssql is not known yet: use one of sqlite, postgresql"):
        fence_of(fake)


async def test_every_library_names_the_same_database(database: Database) -> None:
    assert (await opened(database)).database == f"sqlite:{database.path}"
