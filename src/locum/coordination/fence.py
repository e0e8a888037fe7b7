"""Fences: the token checked inside the user's own database and transaction (R21).

A fence is one row in the user's database for each scope, with the highest token it has seen. *Raising* it is a locking
write, done by each term before its body reads state: from then on every transaction of an older term is refused, also
those of a process that was paused and does not know. *Checking* it locks that row in the user's own transaction and
demands that the term's token is still the highest.

Promises: after a raise returns, no transaction that checks an older token commits.
Assumes: the writes that matter check the fence in their own transaction.
On loss: `StaleTermError`; the transaction is to be rolled back, `Term.transaction` does so.

sqlite3, aiosqlite and SQLAlchemy (engines and connections, plain and asyncio, on SQLite) are known, without importing
them.
"""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locum.errors import StaleTermError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["Fence", "fence_of"]

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS locum_fence (scope VARCHAR(512) NOT NULL PRIMARY KEY, highest BIGINT NOT NULL)"
)
_RAISE: Final = (
    "INSERT INTO locum_fence (scope, highest) VALUES (:scope, :token)"
    " ON CONFLICT (scope) DO UPDATE SET highest = excluded.highest WHERE excluded.highest > locum_fence.highest"
)
_IN_MEMORY: Final = "a fence in an in-memory database protects nobody: use a file"
_HIGHEST: Final = "SELECT highest FROM locum_fence WHERE scope = :scope"
# writes nothing new, and takes the write lock: what follows in this transaction cannot be overtaken by a raise
_CHECK: Final = "UPDATE locum_fence SET highest = :token WHERE scope = :scope AND highest = :token"


class Fence(ABC):
    """The fence of one SQLite database, reached through one library.

    It is raised on a connection of its own, since the user's may be in the middle of a transaction.

    Attributes:
        path: The database's file.
        is_async: Whether its connections belong to an event loop.
    """

    path: str
    is_async = False

    @property
    def database(self) -> str:
        """Which database it is."""
        return f"sqlite:{self.path}"

    async def open(self) -> None:  # noqa: B027 - most know it from the start
        """Find out which database it is, where only the database itself can tell."""

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence of a scope, waiting at most `timeout` seconds for an older transaction.

        Raises:
            StaleTermError: It has seen this token or a higher one: of another term, if the store has forgotten that.
            TimeoutError: An older transaction still holds it.
        """
        await _raise_in_file(self.path, scope, token, timeout)

    async def raise_within(self, connection: Any, scope: str, token: int) -> None:
        """Raise the fence inside an open transaction of the user's, which then holds it until its end."""
        await self._run(connection, _CREATE, {})
        await self._run(connection, _RAISE, {"scope": scope, "token": token})

    async def check(self, connection: Any, scope: str, token: int) -> None:
        """Check a token inside the open transaction of a connection.

        Raises:
            StaleTermError: Another token is the highest.
            UnsupportedError: No transaction is open.
        """
        count, _ = await self._run(connection, _CHECK, {"scope": scope, "token": token})
        if not self._in_transaction(connection):
            raise UnsupportedError("a fence is checked inside a transaction: begin one first, or use Term.transaction")
        if count != 1:
            _, found = await self._run(connection, _HIGHEST, {"scope": scope})
            raise StaleTermError(scope, token, found[0] if found else None)

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction as a context: begun, given as a connection, committed, or rolled back on an error."""

    @abstractmethod
    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        """Execute a statement; how many rows it changed, and the first row it gave."""

    @abstractmethod
    def _in_transaction(self, connection: Any) -> bool:
        """Whether a transaction is open."""


def fence_of(target: Any) -> Fence:
    """The fence of whatever reaches a database: an engine, a connection, or an object with an `engine` or `connection`.

    A fence of somebody's own, for a database that is not known here, is what it is.

    Raises:
        UnsupportedError: It is no database that a fence is known for.
    """
    if isinstance(target, Fence):
        return target
    for cls in type(target).__mro__:
        kind = f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
        if kind in _KINDS:
            return _KINDS[kind](target)
    for attribute in ("engine", "connection"):
        inner = getattr(target, attribute, None)
        if inner is not None and not inspect.isroutine(inner):  # not `callable`: a sqlite3.Connection is
            return fence_of(inner)
    raise UnsupportedError(
        f"{type(target).__name__} is no database that can be fenced: give a sqlite3 or aiosqlite connection, a"
        " SQLAlchemy engine or connection, or an object that has one as its `engine` or `connection`"
    )


class _SqliteFence(Fence):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.path = _file_of(connection.execute("PRAGMA database_list").fetchall())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[sqlite3.Connection]:
        await self._begin()
        try:
            yield self._connection
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    async def _begin(self) -> None:
        """Begin to write, for as long as the connection's own timeout allows, but without holding up the event loop."""
        (patience,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout = 0")
        limit = asyncio.timeout(patience / 1000)
        try:
            async with limit:
                while not self._try_to_begin():  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise sqlite3.OperationalError(f"{self.path} was locked for {patience / 1000:g} s") from None
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {patience}")

    def _try_to_begin(self) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return False
        return True

    async def _run(self, connection: sqlite3.Connection, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        cursor = connection.execute(statement, values)
        return cursor.rowcount, cursor.fetchone()

    def _in_transaction(self, connection: sqlite3.Connection) -> bool:
        return connection.in_transaction


class _AiosqliteFence(Fence):
    is_async = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def open(self) -> None:
        async with self._connection.execute("PRAGMA database_list") as cursor:
            self.path = _file_of(await cursor.fetchall())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        await self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            await self._connection.commit()
        except BaseException:
            await self._connection.rollback()
            raise

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        async with connection.execute(statement, values) as cursor:
            return cursor.rowcount, await cursor.fetchone()

    def _in_transaction(self, connection: Any) -> bool:
        return bool(connection.in_transaction)


class _SqlalchemyFence(Fence):
    def __init__(self, target: Any) -> None:
        self._engine = target if type(target).__name__ in ("Engine", "AsyncEngine") else target.engine
        self.is_async = hasattr(self._engine, "sync_engine")
        if self._engine.dialect.name != "sqlite":
            raise UnsupportedError(f"a fence in {self._engine.dialect.name} is not known yet: use SQLite")
        path = self._engine.url.database
        if not path or path == ":memory:":
            raise UnsupportedError(_IN_MEMORY)
        self.path = str(Path(path).absolute())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        if self.is_async:
            async with self._engine.begin() as connection:
                yield connection
        else:
            with self._engine.begin() as connection:
                yield connection

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        import sqlalchemy

        result = connection.execute(sqlalchemy.text(statement), values)
        if asyncio.iscoroutine(result):
            result = await result
        return result.rowcount, result.fetchone() if result.returns_rows else None

    def _in_transaction(self, connection: Any) -> bool:
        return bool(connection.in_transaction())


_KINDS: Final[dict[str, Callable[[Any], Fence]]] = {
    "sqlite3.Connection": _SqliteFence,
    "aiosqlite.Connection": _AiosqliteFence,
    "sqlalchemy.Engine": _SqlalchemyFence,
    "sqlalchemy.Connection": _SqlalchemyFence,
    "sqlalchemy.AsyncEngine": _SqlalchemyFence,
    "sqlalchemy.AsyncConnection": _SqlalchemyFence,
}


async def _raise_in_file(path: str, scope: str, token: int, timeout: float) -> None:
    # SQLite's own busy handler sleeps up to 100 ms between two tries; a takeover waits no longer than it must
    try:
        async with asyncio.timeout(timeout):
            # whoever writes there just now is a process of its own, and tells nobody when it is done
            while (raised := await asyncio.to_thread(_try_to_raise, path, scope, token)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise TimeoutError(f"an older transaction holds the fence in {path} for more than {timeout:.1f} s") from None
    rose, highest = raised
    if not rose:
        raise StaleTermError(scope, token, highest)


def _try_to_raise(path: str, scope: str, token: int) -> tuple[bool, int] | None:
    """Whether it rose, and the highest token now; `None` if somebody else writes just now."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_CREATE)
            rose = connection.execute(_RAISE, {"scope": scope, "token": token}).rowcount == 1
            (highest,) = connection.execute(_HIGHEST, {"scope": scope}).fetchone()
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return None
        return rose, int(highest)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _file_of(databases: Any) -> str:
    path = next(str(file) for _, name, file in databases if name == "main")
    if not path:
        raise UnsupportedError(_IN_MEMORY)
    return path
