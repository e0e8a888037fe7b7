"""Fences: the token checked inside the user's own database and transaction (R21).

A fence is one row in the user's database for each scope, with the highest token it has seen. *Raising* it is a locking
write, done by each term before its body reads state: from then on every transaction of an older term is refused, also
those of a process that was paused and does not know. *Checking* it locks that row in the user's own transaction and
demands that the term's token is still the highest.

Promises: after a raise returns, no transaction that checks an older token commits.
Assumes: the writes that matter check the fence in their own transaction.
On loss: `StaleTermError`; the transaction is to be rolled back, `Term.transaction` does so.

sqlite3, aiosqlite, asyncpg, psycopg, PyMySQL and aiomysql are known, and SQLAlchemy (engines and connections, plain and
asyncio) on SQLite, PostgreSQL, MySQL and MariaDB, without importing them.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final, cast

from locum.coordination.fences.engines import engine_of
from locum.coordination.fences.fence import Fence
from locum.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Fence", "fence_of", "table_of"]

_CONNECTIONS: Final = {
    "sqlite3.Connection": "sqlite:SqliteFence",
    "aiosqlite.Connection": "sqlite:AiosqliteFence",
    "asyncpg.Connection": "postgresql:AsyncpgFence",
    "asyncpg.Pool": "postgresql:AsyncpgFence",
    "asyncpg.PoolConnectionProxy": "postgresql:AsyncpgFence",
    "psycopg.Connection": "postgresql:PsycopgFence",
    "psycopg.AsyncConnection": "postgresql:PsycopgFence",
    "pymysql.Connection": "mysql:PymysqlFence",
    "aiomysql.Connection": "mysql:AiomysqlFence",
    "aiomysql.Pool": "mysql:AiomysqlFence",
}
_ENGINES: Final = {
    "sqlite": "sqlite:SqliteEngineFence",
    "postgresql": "postgresql:PostgresqlEngineFence",
    "mysql": "mysql:MysqlEngineFence",
    "mariadb": "mysql:MysqlEngineFence",
}
_OF_SQLALCHEMY: Final = {f"sqlalchemy.{name}" for name in ("Engine", "Connection", "AsyncEngine", "AsyncConnection")}


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
        if kind in _CONNECTIONS:
            return _made(_CONNECTIONS[kind], target)
        if kind in _OF_SQLALCHEMY:
            return _made(_of_dialect(engine_of(target).dialect.name), target)
    for attribute in ("engine", "connection"):
        inner = getattr(target, attribute, None)
        if inner is not None and not inspect.isroutine(inner):  # not `callable`: a sqlite3.Connection is
            return fence_of(inner)
    raise UnsupportedError(
        f"{type(target).__name__} is no database that can be fenced: give a connection of sqlite3, aiosqlite,"
        " asyncpg, psycopg, PyMySQL or aiomysql, a SQLAlchemy engine or connection, or an object that has one as its"
        " `engine` or `connection`"
    )


def table_of(dialect: str) -> str:
    """The statement that makes a fence's table.

    Args:
        dialect: As SQLAlchemy calls it: `sqlite`, `postgresql`, `mysql` or `mariadb`.

    Raises:
        UnsupportedError: No fence is known for it.
    """
    return _room(_of_dialect(dialect)).create


def _of_dialect(name: str) -> str:
    if name not in _ENGINES:
        raise UnsupportedError(f"a fence in {name} is not known yet: use one of {', '.join(_ENGINES)}")
    return _ENGINES[name]


def _made(room: str, target: Any) -> Fence:
    return cast("Callable[[Any], Fence]", _room(room))(target)


def _room(room: str) -> type[Fence]:
    module, _, name = room.partition(":")
    return cast("type[Fence]", getattr(importlib.import_module(f"locum.coordination.fences.{module}"), name))
