"""The fence of a MySQL or MariaDB database, through SQLAlchemy's engines, PyMySQL and aiomysql.

A check reads the fence's row and locks it shared, so that the transactions of one term do not wait for each other; a
raise waits for all of them. Rows that were changed are not counted: MySQL counts those that were found only if the
client has asked for that when it connected (`FOUND_ROWS`), and a user's connection may have or not. What is read under
a lock is the latest, also where the transaction sees everything else as it was when it began.

The table is made when the fence is opened, never within a transaction of the user's: MySQL would commit that. It is
InnoDB's, whatever the default is: no other engine locks rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.coordination.fences.server import ServerEngineFence, ServerFence, in_thread, is_pool
from locum.errors import StaleTermError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.fences.server import Run

__all__ = ["AiomysqlFence", "MysqlEngineFence", "PymysqlFence"]

CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS locum_fence (scope VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
    " PRIMARY KEY, highest BIGINT NOT NULL) ENGINE=InnoDB"
)
# one that is there already is locked by it, so that two raises queue, and do not meet in a gap that both have locked
_ENTER: Final = "INSERT INTO locum_fence (scope, highest) VALUES (:scope, 0) ON DUPLICATE KEY UPDATE highest = highest"
_LOCKED: Final = "SELECT highest FROM locum_fence WHERE scope = :scope FOR UPDATE"
_WRITE: Final = "UPDATE locum_fence SET highest = :token WHERE scope = :scope"
_RAISE_WITHIN: Final = (
    "INSERT INTO locum_fence (scope, highest) VALUES (:scope, :token)"
    " ON DUPLICATE KEY UPDATE highest = GREATEST(highest, VALUES(highest))"
)
_ENGINE: Final = (
    "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'locum_fence'"
)

_OUT_OF_TIME: Final = 1205
_DEADLOCK: Final = 1213
_SILENCE: Final = 3600  # seconds after which a server has answered even who has waited for the longest lease
_IN_TRANSACTION: Final = 1  # SERVER_STATUS_IN_TRANS of the protocol
_COMMITS_BY_ITSELF: Final = 2  # SERVER_STATUS_AUTOCOMMIT


class _MysqlFence(ServerFence):
    create: ClassVar[str] = CREATE
    _check: ClassVar[str] = (
        "SELECT highest FROM locum_fence WHERE scope = :scope AND highest = :token LOCK IN SHARE MODE"
    )
    _highest: ClassVar[str] = "SELECT highest FROM locum_fence WHERE scope = :scope LOCK IN SHARE MODE"
    _kind = "mysql"
    _is_there = _ENGINE
    _name_of = "SELECT CONCAT(DATABASE(), '/', highest) FROM locum_fence WHERE scope = :scope"
    _call = "INSERT IGNORE INTO locum_fence (scope, highest) VALUES (:scope, :token)"
    _grant = "GRANT SELECT, INSERT, UPDATE ON locum_fence"
    _no_right = (1142,)
    _made_by_another = (1050,)

    async def _ask_for_name(self) -> str:
        name = await super()._ask_for_name()
        async with self._own() as run:
            _, (engine,) = await run(_ENGINE)
        if engine.upper() != "INNODB":
            raise UnsupportedError(
                f"the table locum_fence of {name.partition('/')[0]} is {engine}'s, which locks no rows: ALTER TABLE"
                " locum_fence ENGINE=InnoDB"
            )
        return name

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence on a connection of its own, as soon as older transactions have ended."""
        try:
            async with asyncio.timeout(timeout):
                highest = await self._raise(scope, token, timeout)
        except TimeoutError:
            raise self._held(timeout) from None
        except Exception as error:
            if self._code(error) != _OUT_OF_TIME:
                raise
            raise self._held(timeout) from None
        if highest is not None:
            raise StaleTermError(scope, token, highest)

    async def raise_within(self, connection: Any, scope: str, token: int) -> None:
        """Raise the fence inside an open transaction of the user's."""
        await self._run(connection, _RAISE_WITHIN, {"scope": scope, "token": token})

    async def _raise(self, scope: str, token: int, timeout: float) -> int | None:
        """The token that is as high, if there is one."""
        while True:
            try:
                async with self._own() as run, _patient(run, timeout):
                    await run(_ENTER, scope=scope)
                    _, (highest,) = await run(_LOCKED, scope=scope)
                    if int(highest) >= token:
                        return int(highest)
                    await run(_WRITE, scope=scope, token=token)
                    return None
            except Exception as error:
                if self._code(error) != _DEADLOCK:
                    raise

    def _held(self, timeout: float) -> TimeoutError:
        return TimeoutError(f"an older transaction holds the fence in {self.database} for more than {timeout:.1f} s")

    def _code(self, error: BaseException) -> object:
        own = getattr(error, "orig", None) or error
        return own.args[0] if own.args else None


@asynccontextmanager
async def _patient(run: Run, timeout: float) -> AsyncIterator[None]:
    """Let a connection wait so long for locks; it may be one of a pool of the user's, and is left as it was."""
    _, (before,) = await run("SELECT @@innodb_lock_wait_timeout")
    await run("SET SESSION innodb_lock_wait_timeout = :longest", longest=max(1, math.ceil(timeout)))
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # one whose statement was cut short is broken, and goes back to no pool
            await run("SET SESSION innodb_lock_wait_timeout = :longest", longest=int(before))


class MysqlEngineFence(ServerEngineFence, _MysqlFence):
    """Through an engine or a connection of SQLAlchemy."""

    def _commits_by_itself(self, connection: Any) -> bool:
        return bool(connection.get_autocommit())


class _DriverFence(_MysqlFence):
    """Through a library itself.

    Args:
        target: A connection, or a pool.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    @property
    def _way(self) -> Any:
        return self._target

    def _in_transaction(self, connection: Any) -> bool:
        """As the server's last word of success says; where it commits nothing by itself, a read has begun one."""
        return bool(connection.server_status & _IN_TRANSACTION) or not connection.server_status & _COMMITS_BY_ITSELF

    def _refuse_open(self, connection: Any) -> None:
        if connection.server_status & _IN_TRANSACTION:
            raise UnsupportedError(
                "a transaction is open on this connection already, and to begin another one would commit it: commit it"
                " first, or check the token in it by term.fence(connection)"
            )


class PymysqlFence(_DriverFence):
    """Through a connection of PyMySQL."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on the connection."""
        self._refuse_open(self._target)
        self._target.begin()
        try:
            yield self._target
            self._target.commit()
        except BaseException:
            self._target.rollback()
            raise

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Run]:
        own = await in_thread(self._another)
        try:
            yield lambda statement, **values: in_thread(_run_plain, own, statement, values)
            await in_thread(own.commit)
        finally:
            await in_thread(own.close)

    def _another(self) -> Any:
        import pymysql

        known = self._target
        user = known.user.decode() if isinstance(known.user, bytes) else known.user
        database = known.db.decode() if isinstance(known.db, bytes) else known.db
        return pymysql.connect(
            host=known.host,
            port=known.port,
            unix_socket=known.unix_socket,
            user=user,
            password=known.password.decode("latin1"),
            database=database,
            ssl=known.ctx if known.ssl and known._ssl_required else None,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            read_timeout=_SILENCE,
        )

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        return _run_plain(connection, statement, values)


def _run_plain(connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
    from pymysql.cursors import Cursor  # the connection's own may give its rows as whatever its owner likes

    with connection.cursor(Cursor) as cursor:
        count = cursor.execute(_as_driver(statement), values)
        return count, cursor.fetchone() if cursor.description else None


class AiomysqlFence(_DriverFence):
    """Through a connection or a pool of aiomysql."""

    is_async = True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on the connection, or on one of the pool's."""
        async with contextlib.AsyncExitStack() as stack:
            connection = self._target
            if is_pool(connection):
                connection = await stack.enter_async_context(connection.acquire())
            self._refuse_open(connection)
            await connection.begin()
            try:
                yield connection
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Run]:
        async with contextlib.AsyncExitStack() as stack:
            known = self._target
            if is_pool(known):
                known = await stack.enter_async_context(known.acquire())
            own = await self._another(known)
            stack.callback(own.close)
            yield lambda statement, **values: self._run(own, statement, values)
            await own.commit()

    async def _another(self, known: Any) -> Any:
        import aiomysql

        return await aiomysql.connect(
            host=known.host,
            port=known.port,
            unix_socket=known.unix_socket,
            user=known.user.decode() if isinstance(known.user, bytes) else known.user,
            password=known._password,
            db=known.db,
            ssl=known._ssl_context,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        import aiomysql

        async with connection.cursor(aiomysql.Cursor) as cursor:
            count = await cursor.execute(_as_driver(statement), values)
            return count, await cursor.fetchone() if cursor.description else None


def _as_driver(statement: str) -> str:
    """With the placeholders that the libraries have."""
    return re.sub(r":(\w+)", r"%(\1)s", statement)
