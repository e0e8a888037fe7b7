"""A database on PostgreSQL: a few connections, and a transaction on one of them."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy import func, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateSchema

from locum.databases.database import Preparing, wake_others, wakes_others
from locum.databases.tellers import Tellers
from locum.errors import ConfigurationError, OutcomeUnknownError, StoreUnavailableError
from locum.names import check_name
from locum.scopes import Scope, told_by_result
from locum.stores.address import Address
from locum.stores.sql.channels import channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from locum.databases.statement import Statement

__all__ = ["Place", "PostgresDatabase"]

T = TypeVar("T")
L = TypeVar("L", bound=Preparing)
_Library: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_FAILURES: Final = (
    DBAPIError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)  # TimeoutError is one
_DIALECT: Final[Dialect] = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_CONNECTIONS: Final = 3  # a look, the ends of runs, a checkpoint
_IDLE: Final = 2  # seconds after which a transaction whose client has fallen silent is ended by the server
_GRACE: Final = 1.0  # seconds to take leave
_QUIETLY: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')"  # need not be on the disk
_PAUSE: Final = 0.005  # seconds between two times that others are told
_ENDS: Final = ("08", "57")  # a connection that broke, a server that ends it
_PREPARED: Final = 500  # statements of a connection, which the server has understood already
_MAKING: Final = 0x4C4F43554D4A4F42  # for any purpose: the lock under which tables are made: by one at a time


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database of a server is.

    Attributes:
        address: Where the server is, and as whom one connects.
        database: The database.
        schema: The schema of the tables.
    """

    address: Address
    database: str
    schema: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The place that a `postgresql://` URL names, which is read as the store's is.

        Raises:
            ConfigurationError: It names no database.
        """
        address = Address.parse(url, default_port=5432, options=["schema"])
        database = address.path.strip("/") or address.user
        if not database or "/" in database:
            raise ConfigurationError(f"{address.url} names no database: write it after the slash, as in host/billing")
        return cls(address, database, check_name(address.options.get("schema", "locum"), what="a schema"))


class PostgresDatabase(Generic[L]):
    """A database on a server.

    Args:
        place: Where it is.
        name: What it is for, in a word.
        ledger: What is said to it.
        namespace: Whose it is.
        timeout: Seconds that a transaction may take.
    """

    def __init__(self, place: Place, name: str, ledger: L, *, namespace: str, timeout: float) -> None:
        self.ledger = ledger
        self._place, self._name, self._timeout = place, name, timeout
        self._channel = channels(place.schema, f"{namespace}/{name}")[1]
        self._tellers = Tellers(self._make_connection)
        self._tasks = Scope(f"the database of {name}", on_error=told_by_result)
        self._announcing: asyncio.Task[None] | None = None
        self._is_heard = True
        self._pooled = False
        self._spare: _Library | None = None
        self._engine: AsyncEngine | None = None

    @property
    def dialect(self) -> Dialect:
        """How asyncpg is spoken to."""
        return _DIALECT

    async def open(self) -> None:
        """Make the tables' schema if there is none."""
        await self.transact(self._make_schema)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction."""
        committing = False
        try:
            async with asyncio.timeout(self._timeout), self._connected() as connection:
                if self._pooled:
                    await connection.exec_driver_sql(_settings(self._timeout, local=True))
                info = (await connection.get_raw_connection()).info
                wakes_others(info)  # of one that was rolled back
                result = await connection.run_sync(work)
                if wakes_others(info):
                    await connection.execute(select(func.pg_notify(self._channel, "")))
                committing = True
                await connection.commit()
                return result
        except _FAILURES as error:
            raise self._told(error, committing=committing) from error

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Ask something by one statement, which commits by itself."""
        if self._pooled:
            return await self.transact(question)
        try:
            async with asyncio.timeout(self._timeout), self._connected() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                return await connection.run_sync(question)
        except _FAILURES as error:
            raise self._told(error, committing=False) from error

    async def tell(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        """Change something by one statement, which commits by itself.

        Others are told afterwards, a few times together: a notification within it would have all commits of the server
        that notify wait for each other.
        """
        given = statement.ordered(values)
        if self._engine is None:
            await self._reached()
        if self._pooled:
            return await self.transact(lambda db: _told_within(db, statement, given))
        telling = False
        try:
            async with asyncio.timeout(self._timeout):
                teller = await self._tellers.take()
                telling = True
                try:
                    has_changed = await teller.say(statement.text, given) is not None
                except BaseException:
                    self._tellers.cut(teller)
                    raise
                self._tellers.give_back(teller)
        except _FAILURES as error:
            raise self._told(error, committing=telling and not _is_refusal(error)) from error
        if has_changed:
            self._is_heard = False
            if self._announcing is None or self._announcing.done():
                self._announcing = self._tasks.spawn(self._announce(), name="tell others")
        return has_changed

    async def listen(self, wake: Callable[[], object]) -> None:
        """Call something whenever an instance has something for others; until the connection breaks, or for ever.

        A pooler passes nothing on: behind one, others are heard of by looking.
        """
        if self._pooled:
            await asyncio.Event().wait()
        broken = asyncio.Event()

        def told(*_: object) -> None:
            wake()

        connection: _Library | None = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
                connection.add_termination_listener(lambda _: broken.set())
                await connection.add_listener(self._channel, told)
            wake()  # what was told before is not told again
            await broken.wait()
        except _FAILURES as error:
            raise self._told(error, committing=False) from error
        finally:
            if connection is not None:
                connection.terminate()

    async def close(self) -> None:
        """Leave."""
        await self._tasks.close(timeout=_GRACE)
        self._tellers.close()
        if self._spare is not None:
            self._spare.terminate()
        if self._engine is None:
            return
        try:
            async with asyncio.timeout(_GRACE):
                await self._engine.dispose()
        except TimeoutError:
            pass  # nobody answers the farewell

    # -- inside

    async def _reached(self) -> AsyncEngine:
        if self._engine is None:
            self._engine = await self._begin()
        return self._engine

    async def _begin(self) -> AsyncEngine:
        """See by a first connection what stands between it and the server."""
        self._spare = await self._connect()
        self._pooled = await _is_pooled(self._spare)
        await self._settle(self._spare)
        return create_async_engine(
            "postgresql+asyncpg://",
            isolation_level="READ COMMITTED",  # whatever the database's own default is: each statement sees the latest
            pool_size=_CONNECTIONS,
            max_overflow=0,
            connect_args={
                "async_creator_fn": self._make_connection,
                # a pooler may lend the next transaction another server, where nothing of ours was prepared
                "prepared_statement_cache_size": 0 if self._pooled else _PREPARED,
                "prepared_statement_name_func": lambda: f"locum_{uuid.uuid4().hex}",
            },
        )

    async def _make_connection(self, *_: Any, **__: Any) -> _Library:
        """For the engine: the one that was made to see what is there, or another one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            return spare
        connection = await self._connect()
        try:
            await self._settle(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _settle(self, connection: _Library) -> None:
        """Directly the settings hold for the connection; a pooler may lend the next transaction another server."""
        if not self._pooled:
            await connection.execute(_settings(self._timeout, local=False))

    async def _announce(self) -> None:
        """Tell others, until nothing has come that they were not told of."""
        while not self._is_heard:
            self._is_heard = True
            try:
                async with asyncio.timeout(self._timeout):
                    await self._tellers.say(_QUIETLY, (self._channel,))
            except _FAILURES:
                pass  # they look by themselves now and then
            await asyncio.sleep(_PAUSE)

    def _told(self, error: Exception, *, committing: bool) -> Exception:
        why = str(getattr(error, "orig", None) or error) or "no answer came in time"
        if committing:
            return OutcomeUnknownError(self._place.address.url, f"a transaction of {self._name}", why)
        return StoreUnavailableError(self._place.address.url, why)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection, which is cut if nothing came of it in time: its farewell would wait for an answer, too."""
        async with (await self._reached()).connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                yield connection
            except (asyncio.CancelledError, OSError):
                driver.terminate()
                raise

    def _make_schema(self, db: Connection) -> None:
        if self.ledger.is_prepared(db):
            return
        db.execute(select(func.pg_advisory_xact_lock(_MAKING)))
        if self._place.schema not in inspect(db).get_schema_names():
            db.execute(CreateSchema(self._place.schema, if_not_exists=True))
        self.ledger.prepare(db)

    async def _connect(self) -> _Library:
        address = self._place.address
        user, password = address.credentials()  # as they are now: a changed one is taken up
        hosts = address.hosts
        return await asyncpg.connect(
            host=[host for host, _ in hosts],
            port=[port for _, port in hosts],
            user=user,
            password=password,
            database=self._place.database,
            ssl=address.tls() or False,
            timeout=self._timeout,
            statement_cache_size=0,  # what may be prepared is decided here
            target_session_attrs=SessionAttribute.primary if len(hosts) > 1 else SessionAttribute.any,
            server_settings={"application_name": f"locum {self._name}"},
        )


async def _is_pooled(connection: _Library) -> bool:
    """Whether another server answers than the one that was greeted."""
    async with connection.transaction():
        return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())


def _is_refusal(error: Exception) -> bool:
    """Whether the server has said that a statement failed, which it has undone then; its own end is no such word."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return isinstance(state, str) and not state.startswith(_ENDS)


def _told_within(db: Connection, statement: Statement, given: tuple[Any, ...]) -> bool:
    has_changed = db.exec_driver_sql(statement.text, given).first() is not None
    if has_changed:
        wake_others(db)
    return has_changed


def _settings(timeout: float, *, local: bool) -> str:
    """For one transaction, or for a connection."""
    settings = {
        "synchronous_commit": "on",
        "statement_timeout": str(max(1, round(timeout * 1000))),
        "idle_in_transaction_session_timeout": str(_IDLE * 1000),
        "jit": "off",
        # all is found by a key; a plan that reads a table that is small, is kept when it is not any more
        "enable_seqscan": "off",
    }
    return "SELECT " + ", ".join(
        f"set_config('{name}', '{value}', {str(local).lower()})" for name, value in settings.items()
    )
