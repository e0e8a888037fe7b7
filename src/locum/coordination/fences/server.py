"""What the fences of database servers have in common: they make their table and say which database they are.

Which database it is, is written in the fence's table itself: addresses differ between a pooler and the server, and few
roles may ask for more.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import weakref
from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, ParamSpec, Protocol, TypeVar

from locum.coordination.fences.engines import EngineFence
from locum.coordination.fences.fence import Fence
from locum.errors import UnsupportedError
from locum.scopes import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from contextlib import AbstractAsyncContextManager

__all__ = ["Run", "ServerEngineFence", "ServerFence", "in_thread", "is_pool"]

P = ParamSpec("P")
T = TypeVar("T")

_IDENTITY: Final = ""  # the row whose number says which database this is; no scope is called so
_OPENING: Final = 30.0  # seconds for the first look at a database

_known: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Which database an engine or a connection leads to; asked once."""


class Run(Protocol):
    """Executes statements on one connection."""

    async def __call__(self, statement: str, **values: object) -> tuple[int, Any]:
        """How many rows a statement changed or gave, and the first one."""


class ServerFence(Fence):
    """The fence of a database on a server."""

    _kind: ClassVar[str]
    _is_there: ClassVar[str]
    _name_of: ClassVar[str]
    _call: ClassVar[str]
    _grant: ClassVar[str]
    _no_right: ClassVar[Collection[object]]
    _made_by_another: ClassVar[Collection[object]]

    _name: str

    @property
    def database(self) -> str:
        """Which database it is."""
        return f"{self._kind}:{self._name}"

    async def open(self) -> None:
        """Ask which database it is; make the fence's table if it has none."""
        way = self._way
        if not hasattr(way, "__weakref__"):  # asyncpg's pools: each is asked again
            self._name = await self._ask_for_name()
            return
        if way not in _known:
            _known[way] = await self._ask_for_name()
        self._name = _known[way]

    async def make(self) -> None:
        """Make the fence's table if it is not there, and open it."""
        await self.open()

    @property
    @abstractmethod
    def _way(self) -> Any:
        """What leads to the database, and lives as long as that way."""

    @abstractmethod
    def _own(self) -> AbstractAsyncContextManager[Run]:
        """A READ COMMITTED transaction on a connection of its own; committed at the end."""

    @abstractmethod
    def _code(self, error: BaseException) -> object:
        """The code by which the database names a library's error."""

    async def _ask_for_name(self) -> str:
        async with asyncio.timeout(_OPENING):
            async with self._own() as run:
                there, _ = await run(self._is_there)
            if not there:
                await self._make()
            async with self._own() as run:
                found, row = await run(self._name_of, scope=_IDENTITY)
                if not found:
                    await run(self._call, scope=_IDENTITY, token=secrets.randbits(62))
            if not found:  # read when it is committed: another one may have been quicker
                async with self._own() as run:
                    _, row = await run(self._name_of, scope=_IDENTITY)
        return str(row[0])

    async def _make(self) -> None:
        try:
            async with self._own() as run:
                await run(self.create)
        except Exception as error:
            if self._code(error) in self._no_right:
                raise UnsupportedError(
                    "the fence's table is not there, and this role may not make it: let its owner run"
                    f" `{self.create}` and `{self._grant}` to it"
                ) from error
            if self._code(error) not in self._made_by_another:
                raise


class ServerEngineFence(EngineFence, ServerFence):
    """Through an engine or a connection of SQLAlchemy."""

    @property
    def _way(self) -> Any:
        return self._engine

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Run]:
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        if self.is_async:
            async with engine.begin() as connection:
                yield lambda statement, **values: self._run(connection, statement, values)
            return
        plain = await in_thread(engine.connect)
        try:
            yield lambda statement, **values: in_thread(_run_plain, plain, statement, values)
            await in_thread(plain.commit)
        finally:
            await in_thread(plain.close)

    def _in_transaction(self, connection: Any) -> bool:
        if not super()._in_transaction(connection):
            return False
        plain = connection.sync_connection if self.is_async else connection
        # SQLAlchemy says that a transaction is open even where the driver commits each statement by itself
        return not self._commits_by_itself(plain.connection.dbapi_connection)

    def _commits_by_itself(self, connection: Any) -> bool:
        """Whether a driver's connection commits each statement."""
        return bool(self._engine.dialect.detect_autocommit_setting(connection))


def _run_plain(connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
    import sqlalchemy

    result = connection.execute(sqlalchemy.text(statement), values)
    if not result.returns_rows:
        return result.rowcount, None
    row = result.fetchone()
    return 0 if row is None else 1, row


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call that may wait for long; it is waited for even when its caller is cancelled.

    A connection serves one thread at a time: whoever is next on it must find it idle. What the call waits for ends by
    the server's own limits.
    """
    running = asyncio.get_running_loop().run_in_executor(None, functools.partial(call, *args, **kwargs))
    running.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # seen, though the cancellation is raised instead
    await finish(running)
    return running.result()


def is_pool(target: Any) -> bool:
    """Whether something is a pool of connections, and not one."""
    return hasattr(target, "acquire")
