"""The token inside a MySQL or MariaDB database, over every library that is known (R21)."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import aiomysql
import pymysql
import pytest
import sqlalchemy
from pymysql.constants import CLIENT
from sqlalchemy.ext.asyncio import create_async_engine

from locum.coordination.fences.mysql import CREATE
from locum.errors import StaleTermError, UnsupportedError
from locum.testing.conformance import demand_server
from locum.testing.instances import Instance
from tests.faults.kit.waiting import LONG
from tests.servers.mariadb import Mariadb, shared
from tests.unit.coordination.fencing import SCOPE, done, opened, term_of
from tests.unit.kit import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LIBRARIES = ["pymysql", "pymysql, found rows", "pymysql, dictionaries", "aiomysql", "pool", "engine", "async engine"]
DRIVERS = LIBRARIES[:4]


class Database:
    """A database of one test's own, reached through one library."""

    def __init__(self, server: Mariadb, name: str) -> None:
        self.server, self.name = server, name

    def url(self, driver: str) -> str:
        return f"mysql+{driver}://owner:{self.server.password}@127.0.0.1:{self.server.port}/{self.name}"

    def given(self, user: str = "owner") -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.server.port, "user": user, "password": self.server.password}

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.run(statement, database=self.name)

    def orders(self) -> list[int]:
        return [number for (number,) in self.run("SELECT id FROM orders ORDER BY id")]

    def highest(self) -> int:
        ((found,),) = self.run(f"SELECT highest FROM locum_fence WHERE scope = '{SCOPE}'")
        return int(found)

    def waiting(self) -> list[Any]:
        """Who waits for a lock just now."""
        return self.run(
            "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id IN"
            f" (SELECT id FROM information_schema.processlist WHERE db = '{self.name}')"
        )

    @asynccontextmanager
    async def reached_by(self, library: str, *, user: str = "owner") -> AsyncIterator[Any]:
        given = self.given(user)
        if library.startswith("pymysql"):
            more: dict[str, Any] = {}
            if library.endswith("rows"):
                more["client_flag"] = CLIENT.FOUND_ROWS
            if library.endswith("dictionaries"):
                more["cursorclass"] = pymysql.cursors.DictCursor
            with closing(pymysql.connect(**given, database=self.name, **more)) as connection:
                yield connection
        elif library == "engine":
            plain = sqlalchemy.create_engine(self.url("pymysql"))
            yield plain
            plain.dispose()
        elif library == "async engine":
            engine = create_async_engine(self.url("aiomysql"))
            yield engine
            await engine.dispose()
        elif library == "pool":
            async with aiomysql.create_pool(**given, db=self.name, minsize=1) as pool:
                yield pool
        else:
            async with aiomysql.connect(**given, db=self.name) as connection:
                yield connection


async def insert(connection: Any, number: int) -> None:
    text = f"INSERT INTO orders VALUES ({number})"
    if "sqlalchemy" in type(connection).__module__:
        await done(connection.execute(sqlalchemy.text(text)))
    elif "aiomysql" in type(connection).__module__:
        async with connection.cursor() as cursor:
            await cursor.execute(text)
    else:
        with connection.cursor() as cursor:
            cursor.execute(text)


@pytest.fixture
def database() -> Iterator[Database]:
    demand_server("mariadb", Mariadb.is_installed())
    name = f"d{uuid.uuid4().hex[:12]}"
    shared().run(f"CREATE DATABASE {name}")
    found = Database(shared(), name)
    found.run("CREATE TABLE orders (id INTEGER) ENGINE=InnoDB")
    yield found
    shared().run(f"DROP DATABASE {name}")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_f69_a_stale_term_is_refused_and_nothing_is_written(
    library: str, database: Database, one: Instance
) -> None:
    old, new = await term_of(one, 7), await term_of(one, 1 << 40)
    async with database.reached_by(library) as target:
        await old.raise_fence(await opened(target))
        for number in (1, 2):  # the second check changes nothing, and counts all the same
            async with old.transaction(target) as connection:
                await insert(connection, number)
        await new.raise_fence(await opened(target))
        with pytest.raises(StaleTermError, match=f"the fence of {SCOPE} refuses token 7: it has seen {1 << 40}"):
            async with old.transaction(target) as connection:
                await insert(connection, 3)
        async with new.transaction(target) as connection:
            await insert(connection, 4)
    assert database.orders() == [1, 2, 4]


@pytest.mark.parametrize("library", ["pymysql", "aiomysql"])
async def test_f69_a_stale_term_is_refused_in_the_users_transaction_that_began_before(
    library: str, database: Database, one: Instance
) -> None:
    """What the transaction reads is as it was when it began; the token is read as it is."""
    old, new = await term_of(one, 7), await term_of(one, 8)
    async with database.reached_by(library) as target, database.reached_by("engine") as other:
        await old.raise_fence(await opened(target))
        await insert(target, 1)
        await old.fence(target)
        await done(target.commit())
        await insert(target, 2)
        await new.raise_fence(await opened(other))
        with pytest.raises(StaleTermError, match="it has seen 8; roll back"):
            await old.fence(target)
        await done(target.rollback())
    assert database.orders() == [1]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_raise_waits_for_an_older_transaction_and_sees_it_committed(
    library: str, database: Database, one: Instance
) -> None:
    old = await term_of(one, 7)
    async with database.reached_by(library) as target, database.reached_by("async engine") as other:
        await old.raise_fence(await opened(target))
        async with old.transaction(target) as connection:
            await insert(connection, 1)
            raising = asyncio.ensure_future((await opened(other)).raise_to(SCOPE, 8, timeout=LONG * 10))
            async with asyncio.timeout(LONG):
                while not database.waiting():  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.2)  # and shows what it showed before until nobody has asked for 0.1 s
            assert not raising.done()
        await soon(raising)
        assert (database.orders(), database.highest()) == ([1], 8)
        with pytest.raises(StaleTermError):
            async with old.transaction(target):
                raise AssertionError("it must not be begun")


@pytest.mark.parametrize("library", ["pymysql", "aiomysql", "engine", "async engine"])
async def test_an_older_transaction_that_stays_makes_the_raise_give_up_in_time(
    library: str, database: Database, one: Instance
) -> None:
    old = await term_of(one, 7)
    async with database.reached_by(library) as target, database.reached_by("aiomysql") as other:
        await old.raise_fence(await opened(target))
        async with old.transaction(other):
            with pytest.raises(TimeoutError, match=f"an older transaction holds the fence in mysql:{database.name}/"):
                await (await opened(target)).raise_to(SCOPE, 8, timeout=1.0)
        await (await opened(target)).raise_to(SCOPE, 8, timeout=LONG)


async def test_the_transactions_of_one_term_do_not_wait_for_each_other(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    async with database.reached_by("pool") as pool, database.reached_by("async engine") as engine:
        await term.raise_fence(await opened(pool))
        async with term.transaction(pool) as first, term.transaction(pool) as second:
            await soon(insert(first, 1))
            await soon(insert(second, 2))
            async with term.transaction(engine) as third:
                await soon(insert(third, 3))
    assert database.orders() == [1, 2, 3]


@pytest.mark.parametrize("library", DRIVERS)
async def test_an_unregistered_database_is_fenced_in_the_users_transaction_and_its_raise_goes_with_that(
    library: str, database: Database, one: Instance
) -> None:
    term = await term_of(one, 7)
    async with database.reached_by(library) as target:
        for end in ("rollback", "commit"):
            await insert(target, 1)
            await term.fence(target)
            await done(getattr(target, end)())
        assert (database.orders(), database.highest()) == ([1], 7)
        await insert(target, 2)
        with pytest.raises(StaleTermError):
            await (await term_of(one, 6)).fence(target)
        await done(target.rollback())
    assert database.orders() == [1]


@pytest.mark.parametrize("library", DRIVERS)
async def test_a_transaction_that_is_open_already_is_not_committed_by_another_one(
    library: str, database: Database, one: Instance
) -> None:
    term = await term_of(one, 7)
    async with database.reached_by(library) as target:
        await term.raise_fence(await opened(target))
        await insert(target, 1)
        with pytest.raises(UnsupportedError, match="to begin another one would commit it"):
            async with term.transaction(target):
                raise AssertionError("it must not be begun")
        await done(target.rollback())
    assert database.orders() == []


async def test_a_check_outside_a_transaction_is_refused(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    async with database.reached_by("aiomysql") as connection:
        await term.raise_fence(await opened(connection))
        await connection.autocommit(True)
        with pytest.raises(UnsupportedError, match="begin one first"):
            await term.fence(connection)
    async with database.reached_by("async engine") as engine:
        with pytest.raises(UnsupportedError, match="begin one first"):
            async with term.transaction(engine.execution_options(isolation_level="AUTOCOMMIT")):
                raise AssertionError("it must not be begun")


async def test_every_library_names_the_same_database_and_no_other_one(database: Database) -> None:
    names = set()
    for library in LIBRARIES:
        async with database.reached_by(library) as target:
            names.add((await opened(target)).database)
    assert len(names) == 1
    assert names.pop().startswith(f"mysql:{database.name}/")


async def test_many_raises_at_once_end_with_the_highest(database: Database) -> None:
    async with database.reached_by("async engine") as engine:
        fence = await opened(engine)
        outcomes = await soon(
            asyncio.gather(
                *(fence.raise_to(SCOPE, token, timeout=LONG) for token in range(1, 9)), return_exceptions=True
            )
        )
    assert database.highest() == 8
    assert all(outcome is None or isinstance(outcome, StaleTermError) for outcome in outcomes), outcomes


async def test_a_raise_leaves_the_patience_of_a_connection_as_it_was(database: Database) -> None:
    async with database.reached_by("engine") as engine:
        await (await opened(engine)).raise_to(SCOPE, 7, timeout=7.0)
        with engine.connect() as connection:
            ((found,),) = connection.execute(sqlalchemy.text("SELECT @@innodb_lock_wait_timeout")).fetchall()
    assert found == 50


async def test_a_table_that_locks_no_rows_is_refused_with_what_to_do(database: Database) -> None:
    database.run(CREATE.replace("InnoDB", "MyISAM"))
    async with database.reached_by("pymysql") as target:
        with pytest.raises(UnsupportedError, match="is MyISAM's, which locks no rows: ALTER TABLE"):
            await opened(target)


async def test_a_role_that_may_not_make_the_table_is_told_what_its_owner_does(database: Database) -> None:
    user = database.name
    database.run(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{database.server.password}'")
    try:
        database.run(f"GRANT SELECT ON {database.name}.* TO {user}@'127.0.0.1'")
        async with database.reached_by("pymysql", user=user) as target:
            with pytest.raises(UnsupportedError, match=r"let its owner run `CREATE TABLE .*ENGINE=InnoDB` and `GRANT"):
                await opened(target)
    finally:
        database.run(f"DROP USER {user}@'127.0.0.1'")
