"""The job database: what runs a ledger's functions, each in a transaction of its own, under a deadline.

SQLite's is a file of its own beside the store's: a transaction of jobs never stands in the way of a beat. Writers queue
for it as for the store. PostgreSQL's tables stand in the store's schema.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import unquote

from locum.errors import ConfigurationError, MissingDriverError
from locum.names import check_name
from locum.registry import without_secrets
from locum.threads import apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from locum.jobs.ledger import Ledger

__all__ = ["Database", "job_store_beside", "opened"]

T = TypeVar("T")

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = "postgresql://"
_TIMEOUT: Final = 5.0


class Database(Protocol):
    """A job database."""

    ledger: Ledger

    async def open(self) -> None:
        """Make what is missing.

        Raises:
            SchemaError: What is there needs a newer reader.
        """

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction.

        Raises:
            StoreUnavailableError: It was not done.
            OutcomeUnknownError: It may have been.
        """

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Ask something by one statement, which needs no transaction.

        Raises:
            StoreUnavailableError: There was no answer.
        """

    async def listen(self, wake: Callable[[], object]) -> None:
        """Call something whenever an instance has something for others; it may end, and be called again.

        Raises:
            StoreUnavailableError: The database does not answer.
        """

    async def close(self) -> None:
        """Leave."""


def job_store_beside(store: str) -> str:
    """The URL of the job database that goes with a store of which none is given.

    Raises:
        ConfigurationError: The store is none that keeps jobs.
    """
    if store.startswith(_SQLITE):
        path = store.removeprefix(_SQLITE)
        stem, dot, suffix = path.rpartition(".")
        return _SQLITE + (f"{stem}-jobs.{suffix}" if dot and "/" not in suffix else f"{path}-jobs")
    if store.startswith(_POSTGRESQL):
        return store
    raise ConfigurationError(
        f"{without_secrets(store)} keeps no jobs: give them a database of their own, by Host(job_store=...) or"
        " LOCUM_JOB_STORE: sqlite:///jobs.db or postgresql://..."
    )


@asynccontextmanager
async def opened(url: str, *, namespace: str, timeout: float = _TIMEOUT, make: bool = True) -> AsyncIterator[Database]:
    """The job database of a URL, open for the length of the block.

    Args:
        url: The URL.
        namespace: Whose jobs.
        timeout: Seconds that a transaction may take.
        make: Whether what is missing in it is made.

    Raises:
        ConfigurationError: It can be none.
        StoreUnavailableError: It is not there.
    """
    check_name(namespace, what="a namespace")
    build = await apart("load SQLAlchemy", lambda: _maker(url))
    database: Database = build(url, namespace, timeout)
    try:
        if make:
            await database.open()
        yield database
    finally:
        await database.close()


def _maker(url: str) -> Any:
    try:
        if url.startswith(_SQLITE):
            from locum.jobs.sqlite import SqliteDatabase

            return lambda url, namespace, timeout: SqliteDatabase(
                Path(unquote(url.removeprefix(_SQLITE))), url, namespace, timeout
            )
        if url.startswith(_POSTGRESQL):
            from locum.jobs.postgresql import make_database

            return make_database
    except ImportError as error:
        extra = "postgresql" if error.name == "asyncpg" else "jobs"
        raise MissingDriverError(url.partition(":")[0], str(error.name), extra) from error
    raise ConfigurationError(f"{without_secrets(url)} is no job database: write sqlite:///jobs.db or postgresql://...")
