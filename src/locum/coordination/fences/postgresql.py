"""The fence of a PostgreSQL database, through SQLAlchemy's engines and asyncpg.

A check locks the fence's row shared, so that the transactions of one term do not wait for each other; a raise waits for
all of them. PostgreSQL finishes a statement whose client is dead, so a raise that has waited for half of its time ends
the backends that hold it up, and waits for their end. A raise is on the server's disk before it is answered, whatever
`synchronous_commit` says: else a crash could let an older token in again.

Which database it is, is written in the fence's table itself: addresses differ between a pooler and the server, and few
roles may ask for more.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import weakref
from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from locum.coordination.fences.engines import EngineFence
from locum.coordination.fences.fence import CREATE, HIGHEST, RAISE, Fence
from locum.errors import StaleTermError, UnsupportedError
from locum.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["AsyncpgFence", "PostgresqlEngineFence"]

_MARK: Final = "/* locum raises a fence */"
_IDENTITY: Final = ""  # the row whose number says which database this is; no scope is called so

_SETTINGS: Final = (
    "SELECT pg_backend_pid(), set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '0', true),"
    " set_config('statement_timeout', :longest, true)"
)
_IS_THERE: Final = "SELECT 1 WHERE to_regclass('locum_fence') IS NOT NULL"
_NAME: Final = "SELECT current_database() || '/' || highest FROM locum_fence WHERE scope = :scope"
_CALL: Final = "INSERT INTO locum_fence (scope, highest) VALUES (:scope, :token) ON CONFLICT DO NOTHING"
# another raise that is in the way is no transaction of a term's, and ends by itself
_END_BLOCKERS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE pid = ANY(pg_blocking_pids(:pid)) AND NOT (state = 'active' AND strpos(query, :mark) > 0)"
)
_PAUSE: Final = 0.02  # seconds between two looks at who holds a raise up
_OPENING: Final = 30.0  # seconds for the first look at a database

_CREATED_BY_ANOTHER: Final = {"23505", "42P07"}
_NO_RIGHT: Final = "42501"
_OUT_OF_TIME: Final = "57014"

_known: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Which database an engine or a connection leads to; asked once."""


class _Run(Protocol):
    async def __call__(self, statement: str, **values: object) -> tuple[int, Any]:
        """How many rows a statement changed or gave, and the first one."""


class _PostgresqlFence(Fence):
    _check: ClassVar[str] = "SELECT highest FROM locum_fence WHERE scope = :scope AND highest = :token FOR SHARE"

    _name: str

    @property
    def database(self) -> str:
        """Which database it is."""
        return f"postgresql:{self._name}"

    async def open(self) -> None:
        """Ask which database it is; make the fence's table if it has none."""
        way = self._way
        if not hasattr(way, "__weakref__"):  # asyncpg's pools: each is asked again
            self._name = await self._ask_for_name()
            return
        if way not in _known:
            _known[way] = await self._ask_for_name()
        self._name = _known[way]

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence on a connection of its own; half of the time is given to older transactions to end."""
        trouble: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                rose, highest = await self._raise(scope, token, timeout, trouble)
        except TimeoutError:
            raise self._held(timeout, trouble) from None
        except Exception as error:
            if _code(error) != _OUT_OF_TIME:
                raise
            raise self._held(timeout, trouble) from None
        if not rose:
            raise StaleTermError(scope, token, highest)

    async def raise_within(self, connection: Any, scope: str, token: int) -> None:
        """Raise the fence inside an open transaction of the user's."""
        await self._run(connection, RAISE, {"scope": scope, "token": token})

    @property
    @abstractmethod
    def _way(self) -> Any:
        """What leads to the database, and lives as long as that way."""

    @abstractmethod
    def _own(self) -> AbstractAsyncContextManager[_Run]:
        """A READ COMMITTED transaction on a connection of its own; committed at the end."""

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

    async def _ask_for_name(self) -> str:
        async with asyncio.timeout(_OPENING):
            async with self._own() as run:
                there, _ = await run(_IS_THERE)
            if not there:
                await self._make()
            async with self._own() as run:
                found, row = await run(_NAME, scope=_IDENTITY)
                if not found:
                    await run(_CALL, scope=_IDENTITY, token=secrets.randbits(62))
            if not found:  # read when it is committed: another one may have been quicker
                async with self._own() as run:
                    _, row = await run(_NAME, scope=_IDENTITY)
        return str(row[0])

    async def _make(self) -> None:
        try:
            async with self._own() as run:
                await run(CREATE)
        except Exception as error:
            if _code(error) == _NO_RIGHT:
                raise UnsupportedError(
                    "the fence's table is not there, and this role may not make it: let its owner run"
                    f" `{CREATE}` and `GRANT SELECT, INSERT, UPDATE ON locum_fence` to it"
                ) from error
            if _code(error) not in _CREATED_BY_ANOTHER:
                raise


class PostgresqlEngineFence(EngineFence, _PostgresqlFence):
    """Through an engine or a connection of SQLAlchemy."""

    @property
    def _way(self) -> Any:
        return self._engine

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[_Run]:
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        if self.is_async:
            async with engine.begin() as connection:
                yield lambda statement, **values: self._run(connection, statement, values)
            return
        # in threads, since each of these may wait for long; each ends by the server's own statement_timeout
        plain = await asyncio.to_thread(engine.connect)
        try:
            yield lambda statement, **values: asyncio.to_thread(_run_plain, plain, statement, values)
            await asyncio.to_thread(plain.commit)
        finally:
            await asyncio.to_thread(plain.close)

    def _in_transaction(self, connection: Any) -> bool:
        if not super()._in_transaction(connection):
            return False
        plain = connection.sync_connection if self.is_async else connection
        # SQLAlchemy says that a transaction is open even where the driver commits each statement by itself
        return not self._engine.dialect.detect_autocommit_setting(plain.connection.dbapi_connection)


def _run_plain(connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
    import sqlalchemy

    result = connection.execute(sqlalchemy.text(statement), values)
    if not result.returns_rows:
        return result.rowcount, None
    row = result.fetchone()
    return 0 if row is None else 1, row


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
        if _is_pool(self._target):
            async with self._target.acquire() as connection, connection.transaction():
                yield connection
        else:
            async with self._target.transaction():
                yield self._target

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[_Run]:
        async with contextlib.AsyncExitStack() as stack:
            if _is_pool(self._target):
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


def _is_pool(target: Any) -> bool:
    return hasattr(target, "acquire")


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


def _code(error: BaseException) -> str | None:
    """The SQLSTATE of a library's error."""
    own = getattr(error, "orig", None) or error
    found = getattr(own, "sqlstate", None) or getattr(own, "pgcode", None)
    return None if found is None else str(found)
