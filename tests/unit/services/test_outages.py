"""What says that a database is away, and what says that the work is wrong: by what the drivers raise themselves."""

from __future__ import annotations

import sqlite3

import asyncpg
import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from locum.services.outages import is_away


def wrapped(cause: Exception, *, invalidated: bool = False) -> Exception:
    """As SQLAlchemy raises what asyncpg did: in an error of its adapter's, and that in one of its own."""
    adapted: Exception = AsyncAdapt_asyncpg_dbapi.Error(f"{type(cause)}: {cause}")  # type: ignore[no-untyped-call]
    adapted.__cause__ = cause
    return sqlalchemy.exc.DBAPIError("INSERT", {}, adapted, connection_invalidated=invalidated)


def refused_by_sqlite(statement: str) -> sqlite3.Error:
    try:
        sqlite3.connect(":memory:").execute(statement)
    except sqlite3.Error as error:
        return error
    raise AssertionError(f"{statement!r} is right")


AWAY = {
    "a broken connection": ConnectionResetError(),
    "no answer in time": TimeoutError(),
    "asyncpg: lost in the middle": asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of it"),
    "asyncpg: closed": asyncpg.InterfaceError("connection is closed"),
    "asyncpg: the server ends": asyncpg.AdminShutdownError("terminating connection"),
    "asyncpg: the server starts": asyncpg.CannotConnectNowError("the database system is starting up"),
    "asyncpg: no room": asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    "asyncpg: a standby": asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    "asyncpg: no primary": asyncpg.TargetServerAttributeNotMatched("None of the hosts match"),
    "asyncpg: another one won": asyncpg.DeadlockDetectedError("deadlock detected"),
    "SQLAlchemy over asyncpg: lost": wrapped(asyncpg.ConnectionDoesNotExistError("connection was closed")),
    "SQLAlchemy over asyncpg: a standby": wrapped(asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT")),
    "SQLAlchemy: it says so": wrapped(asyncpg.PostgresError("?"), invalidated=True),
    "SQLAlchemy: nothing to lend": sqlalchemy.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"),
    "psycopg: the server ends": psycopg.errors.AdminShutdown("terminating connection"),
    "psycopg: a standby": psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"),
    "sqlite3: no file": refused_by_sqlite("ATTACH '/nowhere/at/all.db' AS other"),
    "sqlite3 through SQLAlchemy": sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("locked")),
}

WRONG = {
    "a mistake": ValueError("no such customer"),
    "asyncpg: a duplicate": asyncpg.UniqueViolationError("duplicate key"),
    "asyncpg: no such table": asyncpg.UndefinedTableError('relation "works" does not exist'),
    "SQLAlchemy over asyncpg: a duplicate": wrapped(asyncpg.UniqueViolationError("duplicate key")),
    "psycopg: no such column": psycopg.errors.UndefinedColumn("column does not exist"),
    "sqlite3: no such table": refused_by_sqlite("SELECT * FROM works"),
    "sqlite3: no such table, through SQLAlchemy": sqlalchemy.exc.OperationalError(
        "SELECT", {}, refused_by_sqlite("SELECT * FROM works")
    ),
}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY)
def test_what_passes_by_itself(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize("error", WRONG.values(), ids=WRONG)
def test_what_is_the_works_own_fault(error: Exception) -> None:
    assert not is_away(error)
