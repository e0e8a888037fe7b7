"""The job database: a database beside the store, and the ledger of what is said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from locum.databases import opening
from locum.errors import ConfigurationError
from locum.registry import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from locum.databases.database import Database
    from locum.jobs.ledger import Ledger

__all__ = ["JobDatabase", "job_store_beside", "opened"]

JobDatabase: TypeAlias = "Database[Ledger]"
"""A job database."""

_LONG_TURN: Final = 30.0


def job_store_beside(store: str) -> str:
    """The URL of the job database that goes with a store of which none is given.

    Raises:
        ConfigurationError: The store is none that keeps jobs.
    """
    url = opening.beside(store, "jobs")
    if url is None:
        raise ConfigurationError(
            f"{without_secrets(store)} keeps no jobs: give them a database of their own, by Host(job_store=...) or"
            " LOCUM_JOB_STORE: sqlite:///jobs.db or postgresql://..."
        )
    return url


def opened(
    url: str, *, namespace: str, timeout: float = opening.TIMEOUT, make: bool = True, executes: bool = False
) -> AbstractAsyncContextManager[JobDatabase]:
    """The job database of a URL, open for the length of the block.

    Args:
        url: The URL.
        namespace: Whose jobs.
        timeout: Seconds that a transaction may take.
        make: Whether what is missing in it is made.
        executes: Whether runs are executed by it. In a file one writes at a time: who does so often waits
            longer for its turn, since no lease depends on that.

    Raises:
        ConfigurationError: It can be none.
        StoreUnavailableError: It is not there.
    """
    if executes and opening.is_file(url):
        timeout = max(timeout, _LONG_TURN)
    return opening.opened(url, _JOBS, namespace=namespace, timeout=timeout, make=make)


def _load() -> Callable[[str | None, str, str], Ledger]:
    from locum.jobs.ledger import Ledger
    from locum.jobs.tables import Tables

    return lambda schema, namespace, url: Ledger(Tables(schema), namespace, url)


_JOBS: Final = opening.Purpose("jobs", "jobs", _load)
