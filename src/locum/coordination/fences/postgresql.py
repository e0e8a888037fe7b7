"""The fence of a PostgreSQL database, through SQLAlchemy's engines, asyncpg and psycopg.

A check locks the fence's row shared, so that the transactions of one term do not wait for each other; a raise waits for
all of them. PostgreSQL finishes a statement whose client is dead, so a raise that has waited for half of its time ends
the backends that hold it up, and waits for their end. A raise is on the server's disk before it is answered, whatever
`synchronous_commit` says: else a crash could let an older token in again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.coordination.fences.fence import HIGHEST, RAISE
from locum.coordination.fences.server import ServerEngineFence, ServerFence, is_pool
from locum.errors import StaleTermError, UnsupportedError
from locum.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.fences.server import Run

__all__ = ["AsyncpgFence", "PostgresqlEngineFence", "PsycopgFence"]

_MARK: Final = "/* locum raises a fence */"
_SETTINGS: Final = (
    "SELECT pg_backend_pid(), set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '0', true),"
    " set_config('statement_timeout', :longest, true)"
)
# another raise that is in the way is no transaction of a term's, and ends by itself
_END_BLOCKERS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE pid = ANY(pg_blocking_pids(:pid)) AND NOT (state = 'active' AND strpos(query, :mark) > 0)"
)
_PAUSE: Final = 0.02  # seconds between two looks at who holds a raise up
_OUT_OF_TIME: Final = "57014"


class _PostgresqlFence(ServerFence):
    _kind = "postgresql"
    _is_there = "SELECT 1 WHERE to_regclass('locum_fence') IS NOT NULL"
    _name_of = "SELECT current_database() || '/' || highest FROM locum_fence WHERE scope = :scope"
    _call = "INSERT INTO locum_fence (scope, highest) VALUES (:scope, :token) ON CONFLICT DO NOTHING"
    _grant = "GRANT SELECT, INSERT, UPDATE ON locum_fence"
    _no_right = ("42501",)
    _made_by_another = ("23505", "42P07")
    _check: ClassVar[str] = "SELECT highest FROM locum_fence WHERE scope = :scope AND highest = :token FOR SHARE"

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence on a connection of its own; half of the time is given to older transactions to end."""
        trouble: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                rose, highest = await self._raise(scope, token, timeout, trouble)
        except TimeoutError:
            raise self._held(timeout, trouble) from None
        except Exception as error:
            if self._code(error) != _OUT_OF_TIME:
                raise
            raise self._held(timeout, trouble) from None
        if not rose:
            raise StaleTermError(scope, token, highest)

    async def raise_within(self, connection: Any, scope: str, token: int) -> None:
        """Raise the fence inside an open transaction of the user's."""
        await self._run(connection, RAISE, {"scope": scope, "token": token})

    # -- inside

    async def _raise(self, scope: str, token: int, timeout: float, trouble: list[str]) -> tuple[bool, int]:
        async with Scope("raise a fence") as helpers, self._own() as run:
            _, (pid, *_) = await run(_SETTINGS, longest=str(max(1, round(timeout * 1000))))
            ending = helpers.spawn(self._end_blockers(pid, timeout / 2, trouble), name="end who holds it up")
            count, _ = await run(f"{_MARK} {RAISE}", scope=scope, token=token)
            ending.cancel()
            _, (highest,) = await run(HIGHEST, scope=scope)
        return count == 1, int(highest)

    async def _end_blockers(self, pid: int, patience: float, trouble: list[str]) -> None:
        """End the backends that hold up another one, after some seconds of patience."""
        await asyncio.sleep(patience)
        while True:
            try:
                async with self._own() as run:
                    await run(_END_BLOCKERS, pid=pid, mark=_MARK)
            except Exception as error:  # whatever the library raises: the raise itself goes on until its deadline
                trouble[:] = [str(error).splitlines()[0] if str(error) else type(error).__name__]
            await asyncio.sleep(_PAUSE)

    def _held(self, timeout: float, trouble: list[str]) -> TimeoutError:
        why = f", and it cannot be ended ({trouble[0]})" if trouble else ""
        return TimeoutError(
            f"an older transaction holds the fence in {self.database} for more than {timeout:.1f} s{why}"
        )

    def _code(self, error: BaseException) -> object:
        own = getattr(error, "orig", None) or error
        return getattr(own, "sqlstate", None) or getattr(own, "pgcode", None)


class PostgresqlEngineFence(ServerEngineFence, _PostgresqlFence):
    """Through an engine or a connection of SQLAlchemy."""


class AsyncpgFence(_PostgresqlFence):
    """Through a connection or a pool of asyncpg.

    Args:
        target: The connection or the pool.
    """

    is_async = True

    def __init__(self, target: Any) -> None:
        self._target = target

    @property
    def _way(self) -> Any:
        return self._target

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on the connection, or on one of the pool's."""
        if is_pool(self._target):
            async with self._target.acquire() as connection, connection.transaction():
                yield connection
        else:
            async with self._target.transaction():
                yield self._target

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Run]:
        async with contextlib.AsyncExitStack() as stack:
            if is_pool(self._target):
                connection = await stack.enter_async_context(self._target.acquire())
            else:
                connection = await _another(self._target)
                stack.callback(connection.terminate)
            await stack.enter_async_context(connection.transaction(isolation="read_committed"))
            yield lambda statement, **values: self._run(connection, statement, values)

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        names: list[str] = []

        def number(found: re.Match[str]) -> str:
            if found[1] not in names:
                names.append(found[1])
            return f"${names.index(found[1]) + 1}"

        text = re.sub(r":(\w+)", number, statement)
        given = [values[name] for name in names]
        if "SELECT" in text.partition("(")[0]:
            row = await connection.fetchrow(text, *given)
            return 0 if row is None else 1, row
        done = await connection.execute(text, *given)
        return int(done.rpartition(" ")[2]) if done.startswith("INSERT") else 0, None

    def _in_transaction(self, connection: Any) -> bool:
        return bool(connection.is_in_transaction())


class PsycopgFence(_PostgresqlFence):
    """Through a connection of psycopg, plain or asyncio.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_async = inspect.iscoroutinefunction(connection.execute)

    @property
    def _way(self) -> Any:
        return self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on the connection, on which none may be open: it would be committed with that one alone."""
        if self._in_transaction(self._connection):
            raise UnsupportedError(
                "a transaction is open on this connection already, if only by a SELECT: commit it first, or check the"
                " token in it by term.fence(connection)"
            )
        if self.is_async:
            async with self._connection.transaction():
                yield self._connection
        else:
            with self._connection.transaction():
                yield self._connection

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Run]:
        import psycopg

        info = self._connection.info
        given: dict[str, Any] = info.get_parameters()
        if info.password:
            given["password"] = info.password
        own = await psycopg.AsyncConnection.connect(**given)
        try:
            await own.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
            yield lambda statement, **values: self._run(own, statement, values)
            await own.commit()
        finally:
            await own.close()

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        from psycopg.rows import tuple_row

        # a cursor of its own: the connection's may give its rows as whatever its owner likes
        cursor = connection.cursor(row_factory=tuple_row)
        await _done(cursor.execute(re.sub(r":(\w+)", r"%(\1)s", statement), values))
        if cursor.description is None:
            return cursor.rowcount, None
        row = await _done(cursor.fetchone())
        return 0 if row is None else 1, row

    def _in_transaction(self, connection: Any) -> bool:
        from psycopg.pq import TransactionStatus

        return connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)


async def _done(outcome: Any) -> Any:
    """What a call of psycopg gave, plain or asyncio."""
    return await outcome if inspect.isawaitable(outcome) else outcome


async def _another(connection: Any) -> Any:
    """Another connection to where this one leads, as whom it is; asyncpg has no public way for that."""
    import asyncpg

    address, known = connection._addr, connection._params
    host, port = address if isinstance(address, tuple) else (address.rpartition("/")[0], address.rpartition(".")[2])
    settings = known.server_settings or {}
    return await asyncpg.connect(
        host=host,
        port=int(port),
        user=known.user,
        password=known.password,
        database=known.database,
        ssl=known.ssl if connection._transport.get_extra_info("ssl_object") else False,  # it may only have been tried
        server_settings={name: str(value) for name, value in settings.items()},
        statement_cache_size=0,
    )
