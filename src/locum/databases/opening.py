"""From a URL to the database beside the store that it names.

SQLite's is a file of its own beside the store's: no transaction of it ever stands in the way of a beat. Writers queue
for it as for the store. PostgreSQL's tables stand in the store's schema.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import unquote

from locum.databases.database import Preparing
from locum.errors import ConfigurationError, MissingDriverError
from locum.names import check_name
from locum.registry import without_secrets
from locum.threads import apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.databases.database import Database

__all__ = ["TIMEOUT", "Purpose", "beside", "is_file", "opened"]

L = TypeVar("L", bound=Preparing)

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = "postgresql://"
TIMEOUT: Final = 5.0
"""Seconds that a transaction may take, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Purpose(Generic[L]):
    """What a database is for.

    Attributes:
        name: In a word, for channels, threads and messages.
        extra: The extra of this package that brings what it needs.
        load: Loads what makes its ledger: of a schema (`None` for none), a namespace, and a URL for messages.
    """

    name: str
    extra: str
    load: Callable[[], Callable[[str | None, str, str], L]]


def beside(store: str, name: str) -> str | None:
    """The URL of the database that goes with a store; `None` if the store is none that has such.

    Args:
        store: The store's URL.
        name: What it is for: a part of a file's name.
    """
    if store.startswith(_SQLITE):
        path = store.removeprefix(_SQLITE)
        stem, dot, suffix = path.rpartition(".")
        return _SQLITE + (f"{stem}-{name}.{suffix}" if dot and "/" not in suffix else f"{path}-{name}")
    return store if store.startswith(_POSTGRESQL) else None


def is_file(url: str) -> bool:
    """Whether a URL names a file, in which one writes at a time."""
    return url.startswith(_SQLITE)


@asynccontextmanager
async def opened(
    url: str, purpose: Purpose[L], *, namespace: str, timeout: float = TIMEOUT, make: bool = True
) -> AsyncIterator[Database[L]]:
    """The database of a URL, open for the length of the block.

    Args:
        url: The URL.
        purpose: What it is for.
        namespace: Whose it is.
        timeout: Seconds that a transaction may take.
        make: Whether what is missing in it is made.

    Raises:
        ConfigurationError: It can be none.
        StoreUnavailableError: It is not there.
    """
    check_name(namespace, what="a namespace")
    build = await apart("load SQLAlchemy", lambda: _maker(url, purpose))
    database = build(namespace, timeout)
    try:
        if make:
            await database.open()
        yield database
    finally:
        await database.close()


def _maker(url: str, purpose: Purpose[L]) -> Callable[[str, float], Database[L]]:
    """What makes it, of a namespace and seconds; loaded here, in a thread."""
    name = purpose.name
    try:
        if url.startswith(_SQLITE):
            from locum.databases.sqlite import SqliteDatabase

            make_ledger, path = purpose.load(), Path(unquote(url.removeprefix(_SQLITE)))
            return lambda namespace, timeout: SqliteDatabase(
                path, url, name, make_ledger(None, namespace, url), timeout=timeout
            )
        if url.startswith(_POSTGRESQL):
            from locum.databases.postgresql import Place, PostgresDatabase

            make_ledger, place = purpose.load(), Place.of(url)
            return lambda namespace, timeout: PostgresDatabase(
                place,
                name,
                make_ledger(place.schema, namespace, place.address.url),
                namespace=namespace,
                timeout=timeout,
            )
    except ImportError as error:
        extra = "postgresql" if error.name == "asyncpg" else purpose.extra
        raise MissingDriverError(url.partition(":")[0], str(error.name), extra) from error
    raise ConfigurationError(
        f"{without_secrets(url)} is no database for {name}: write sqlite:///{name}.db or postgresql://..."
    )
