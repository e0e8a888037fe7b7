"""The token inside a PostgreSQL database, over every library that is known (R21)."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row, tuple_row
from sqlalchemy.ext.asyncio import create_async_engine

from locum.errors import StaleTermError, UnsupportedError
from locum.testing.conformance import demand_server
from locum.testing.instances import Instance
from tests.faults.kit.waiting import LONG
from tests.servers.postgresql import Postgresql, shared
from tests.unit.coordination.fencing import SCOPE, done, opened, term_of
from tests.unit.kit import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LIBRARIES = ["engine", "async engine", "asyncpg", "pool", "psycopg", "psycopg dictionaries", "psycopg async"]


class Database:
    """A database of one test's own, reached through one library."""

    def __init__(self, server: Postgresql, name: str) -> None:
        self.server, self.name = server, name

    def url(self, driver: str, *, user: str = "owner") -> str:
        return f"postgresql+{driver}://{user}:{self.server.password}@127.0.0.1:{self.server.port}/{self.name}"

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.run(statement, database=self.name)

    def orders(self) -> list[int]:
        return [number for (number,) in self.run("SELECT id FROM orders ORDER BY id")]

    def highest(self) -> int:
        ((found,),) = self.run(f"SELECT highest FROM locum_fence WHERE scope = '{SCOPE}'")
        return int(found)

    def kept_from_running(self) -> list[Any]:
        """Who waits for a lock just now."""
        return self.run(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

    @asynccontextmanager
    async def reached_by(self, library: str, *, user: str = "owner") -> AsyncIterator[Any]:
        if library == "engine":
            plain = sqlalchemy.create_engine(self.url("psycopg", user=user))
            yield plain
            plain.dispose()
        elif library == "async engine":
            engine = create_async_engine(self.url("asyncpg", user=user))
            yield engine
            await engine.dispose()
        elif library.startswith("psycopg"):
            dsn = self.server.dsn(self.name, user=user)
            if library.endswith("async"):
                async with await psycopg.AsyncConnection.connect(dsn) as own:
                    yield own
            else:
                rows: Any = dict_row if library.endswith("dictionaries") else tuple_row
                with psycopg.connect(dsn, row_factory=rows) as of_psycopg:
                    yield of_psycopg
        else:
            dsn = self.url("asyncpg", user=user).replace("+asyncpg", "")
            if library == "pool":
                async with asyncpg.create_pool(dsn, min_size=1) as pool:
                    yield pool
            else:
                connection = await asyncpg.connect(dsn)
                yield connection
                await connection.close()


async def insert(connection: Any, number: int) -> None:
    text = f"INSERT INTO orders VALUES ({number})"
    await done(connection.execute(sqlalchemy.text(text) if "sqlalchemy" in type(connection).__module__ else text))


@pytest.fixture
def database() -> Iterator[Database]:
    demand_server("postgresql", Postgresql.is_installed())
    name = f"d{uuid.uuid4().hex[:12]}"
    shared().run(f"CREATE DATABASE {name}")
    found = Database(shared(), name)
    found.run("CREATE TABLE orders (id INTEGER)")
    yield found
    shared().run(f"DROP DATABASE {name} WITH (FORCE)")


async def waits(database: Database) -> None:
    try:
        async with asyncio.timeout(LONG):
            while not database.kept_from_running():  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError("nobody waits for the row") from None


@pytest.mark.parametrize("library", LIBRARIES)
async def test_f69_a_stale_term_is_refused_and_nothing_is_written(
    library: str, database: Database, one: Instance
) -> None:
    old, new = await term_of(one, 7), await term_of(one, 1 << 40)
    async with database.reached_by(library) as target:
        await old.raise_fence(await opened(target))
        async with old.transaction(target) as connection:
            await insert(connection, 1)
        await new.raise_fence(await opened(target))
        with pytest.raises(StaleTermError) as refusal:
            async with old.transaction(target) as connection:
                await insert(connection, 2)
        async with new.transaction(target) as connection:
            await insert(connection, 3)
    assert (refusal.value.token, refusal.value.highest) == (7, 1 << 40)
    assert database.orders() == [1, 3]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_raise_waits_for_an_older_transaction_and_sees_it_committed(
    library: str, database: Database, one: Instance
) -> None:
    old, new = await term_of(one, 7), await term_of(one, 8)
    async with database.reached_by(library) as target, database.reached_by("async engine") as other:
        await old.raise_fence(await opened(target))
        async with old.transaction(target) as connection:
            await insert(connection, 1)
            fence = await opened(other)
            raising = asyncio.ensure_future(fence.raise_to(SCOPE, 8, timeout=LONG * 10))
            await waits(database)
            assert not raising.done()
        await soon(raising)
        assert (database.orders(), database.highest()) == ([1], 8)
        with pytest.raises(StaleTermError):
            async with old.transaction(target):
                raise AssertionError("it must not be begun")
    assert new.is_current


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_older_transaction_that_stays_is_ended_and_writes_nothing(
    library: str, database: Database, one: Instance
) -> None:
    old = await term_of(one, 7)
    with psycopg.connect(database.server.dsn(database.name)) as dead:
        async with database.reached_by(library) as target:
            fence = await opened(target)
            await old.raise_fence(fence)
            dead.execute("SELECT 1 FROM locum_fence WHERE scope = %s AND highest = 7 FOR SHARE", [SCOPE])
            dead.execute("INSERT INTO orders VALUES (1)")
            await (await opened(target)).raise_to(SCOPE, 8, timeout=8.0)
        with pytest.raises(psycopg.OperationalError):
            dead.commit()
    assert (database.orders(), database.highest()) == ([], 8)


@pytest.mark.parametrize("library", ["engine", "async engine"])
async def test_one_that_may_not_be_ended_gives_the_term_up_with_the_reason(library: str, database: Database) -> None:
    database.run(f"CREATE ROLE {database.name} LOGIN PASSWORD '{database.server.password}'")
    try:
        async with database.reached_by("asyncpg") as owners:
            await (await opened(owners)).raise_to(SCOPE, 7, timeout=LONG)
        database.run(f"GRANT SELECT, INSERT, UPDATE ON locum_fence TO {database.name}")
        with psycopg.connect(database.server.dsn(database.name)) as held:
            held.execute("SELECT 1 FROM locum_fence FOR SHARE")
            async with database.reached_by(library, user=database.name) as target:
                with pytest.raises(
                    TimeoutError, match=r"older transaction holds the fence in .*cannot be ended .*must be a"
                ):
                    await (await opened(target)).raise_to(SCOPE, 8, timeout=8.0)
    finally:
        database.run(f"DROP OWNED BY {database.name}")
        database.run(f"DROP ROLE {database.name}")


async def test_a_role_that_may_not_make_the_table_is_told_what_its_owner_does(database: Database) -> None:
    database.run(f"CREATE ROLE {database.name} LOGIN PASSWORD '{database.server.password}'")
    try:
        async with database.reached_by("async engine", user=database.name) as target:
            with pytest.raises(UnsupportedError, match="let its owner run `CREATE TABLE"):
                await opened(target)
    finally:
        database.run(f"DROP ROLE {database.name}")


async def test_the_table_and_the_rights_of_the_stores_page_suffice(database: Database) -> None:
    page = Path(__file__).parents[3] / "docs/stores/postgresql.md"
    (block,) = re.findall(r"^```sql\n(CREATE TABLE.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    name = database.name
    database.run(f"CREATE ROLE {name} LOGIN PASSWORD '{database.server.password}'")
    try:
        for statement in filter(None, block.replace("TO billing", f"TO {name}").split(";\n")):
            database.run(statement)
        async with database.reached_by("asyncpg", user=name) as target:
            await (await opened(target)).raise_to(SCOPE, 8, timeout=LONG)
        assert database.highest() == 8
    finally:
        database.run(f"DROP OWNED BY {name}")
        database.run(f"DROP ROLE {name}")


async def test_every_library_names_the_same_database_and_no_other_one(database: Database) -> None:
    names = set()
    for library in LIBRARIES:
        async with database.reached_by(library) as target:
            names.add((await opened(target)).database)
    assert len(names) == 1
    assert names.pop().startswith(f"postgresql:{database.name}/")


async def test_many_who_meet_a_new_database_at_once_make_one_table(database: Database) -> None:
    async with database.reached_by("pool") as pool, database.reached_by("async engine") as engine:
        found = await asyncio.gather(*(opened(target) for target in (pool, engine) for _ in range(5)))
    assert len({one.database for one in found}) == 1


async def test_a_check_outside_a_transaction_is_refused(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    async with database.reached_by("asyncpg") as connection:
        await term.raise_fence(await opened(connection))
        with pytest.raises(UnsupportedError, match="begin one first"):
            await term.fence(connection)
    async with database.reached_by("async engine") as engine:
        by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(UnsupportedError, match="begin one first"):
            async with term.transaction(by_itself):
                raise AssertionError("it must not be begun")


@pytest.mark.parametrize("library", ["psycopg", "psycopg async"])
async def test_f69_psycopg_is_fenced_in_the_users_own_transaction_too(
    library: str, database: Database, one: Instance
) -> None:
    old, new = await term_of(one, 7), await term_of(one, 8)
    async with database.reached_by(library) as connection:
        for end in ("rollback", "commit"):  # it is not registered: its raise goes with the transaction
            await insert(connection, 1)
            await old.fence(connection)
            await done(getattr(connection, end)())
        await insert(connection, 2)
        async with database.reached_by("asyncpg") as other:
            await soon(new.raise_fence(await opened(other)))
        with pytest.raises(StaleTermError, match="it has seen 8; roll back"):
            await old.fence(connection)
        await done(connection.rollback())
        assert database.orders() == [1]
        await insert(connection, 3)
        with pytest.raises(UnsupportedError, match="a transaction is open on this connection already"):
            async with new.transaction(connection):
                raise AssertionError("it must not be begun")
        await done(connection.rollback())
        await done(connection.set_autocommit(True))
        with pytest.raises(UnsupportedError, match="begin one first"):
            await new.fence(connection)
    assert database.orders() == [1]


async def test_two_transactions_of_one_term_do_not_wait_for_each_other(database: Database, one: Instance) -> None:
    term = await term_of(one, 7)
    async with database.reached_by("async engine") as engine:
        await term.raise_fence(await opened(engine))
        async with term.transaction(engine) as first:
            await insert(first, 1)
            async with asyncio.timeout(LONG), term.transaction(engine) as second:
                await insert(second, 2)
    assert database.orders() == [1, 2]


SLEEPS = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
KILLED = """
import psycopg, sys
connection = psycopg.connect(sys.argv[1], autocommit=True)
connection.execute(
    "BEGIN; SELECT 1 FROM locum_fence WHERE scope = '%s' AND highest = 7 FOR SHARE;"
    " INSERT INTO orders VALUES (1); SELECT pg_sleep(%s); INSERT INTO orders VALUES (2); COMMIT" % tuple(sys.argv[2:])
)
"""


def begun(database: Database, runs_for: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", KILLED, database.server.dsn(database.name), SCOPE, str(runs_for)])


@pytest.mark.parametrize(("runs_for", "timeout", "orders"), [(1.5, 60.0, [1, 2]), (600.0, 8.0, [])])
async def test_f49_a_killed_worker_s_transaction_has_ended_before_the_raise_returns(
    runs_for: float, timeout: float, orders: list[int], database: Database, one: Instance
) -> None:
    """The server finishes what a dead client has sent: it is waited for, or ended where that takes too long."""
    old = await term_of(one, 7)
    async with database.reached_by("async engine") as engine:
        fence = await opened(engine)
        await old.raise_fence(fence)
        with begun(database, runs_for) as worker:
            async with asyncio.timeout(LONG):
                while not database.run(SLEEPS):  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.01)
            worker.send_signal(signal.SIGKILL)
        assert database.orders() == []
        await fence.raise_to(SCOPE, 8, timeout=timeout)
        assert database.orders() == orders
        assert not database.run(SLEEPS)
