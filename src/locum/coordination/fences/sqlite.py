"""The fence of a SQLite file, through sqlite3, aiosqlite and SQLAlchemy."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.fences.engines import EngineFence
from locum.coordination.fences.fence import CREATE, HIGHEST, RAISE, Fence
from locum.errors import StaleTermError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["AiosqliteFence", "SqliteEngineFence", "SqliteFence"]

_IN_MEMORY: Final = "a fence in an in-memory database protects nobody: use a file"


class _FileFence(Fence):
    """The fence of one file."""

    path: str

    @property
    def database(self) -> str:
        """Which database it is."""
        return f"sqlite:{self.path}"

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence on a connection of its own."""
        await _raise_in_file(self.path, scope, token, timeout)


class SqliteFence(_FileFence):
    """Through a connection of sqlite3."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.path = _file_of(connection.execute("PRAGMA database_list").fetchall())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[sqlite3.Connection]:
        """A transaction on the connection."""
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


class AiosqliteFence(_FileFence):
    """Through a connection of aiosqlite."""

    is_async = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def open(self) -> None:
        """Ask for the file."""
        async with self._connection.execute("PRAGMA database_list") as cursor:
            self.path = _file_of(await cursor.fetchall())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on the connection."""
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


class SqliteEngineFence(EngineFence, _FileFence):
    """Through an engine or a connection of SQLAlchemy."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        path = self._engine.url.database
        if not path or path == ":memory:":
            raise UnsupportedError(_IN_MEMORY)
        self.path = str(Path(path).absolute())


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
            connection.execute(CREATE)
            rose = connection.execute(RAISE, {"scope": scope, "token": token}).rowcount == 1
            (highest,) = connection.execute(HIGHEST, {"scope": scope}).fetchone()
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
