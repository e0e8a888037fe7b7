"""Which store a command looks at, and how it is opened without being made."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

import click

from locum.clock import Clock
from locum.errors import ConfigurationError
from locum.registry import make_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.store import Store

__all__ = ["Place", "file_of", "look_again", "looking_at", "which_store", "which_store_if_any"]

F = TypeVar("F", bound="Callable[..., Any]")
_NOBODY: Final = "default"  # the namespace of whoever names none


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look.

    Attributes:
        url: The store's URL.
        namespace: The host's name.
        ttl: The host's TTL in seconds; `None` where no host was asked.
        is_given: Whether the command line names the store itself, and not only the host.
        has_host: Whether a host is named, too; otherwise the namespace says nothing of anybody.
        job_store: The URL of the job database that may be there; `None` where there is none.
    """

    url: str
    namespace: str
    ttl: float | None = None
    is_given: bool = True
    has_host: bool = True
    job_store: str | None = None


def which_store(command: F) -> F:
    """Options that name a store; the command gets them as its argument `place`, a function that finds it."""
    return _with_options(command, _place)


def which_store_if_any(command: F) -> F:
    """The same, for a command that can do without: where nothing names a store or a host, `place` finds `None`.

    A store without a host is enough for it.
    """
    return _with_options(command, _place_if_any)


def _with_options(command: F, find: Callable[[str | None, str | None, str | None], Place | None]) -> F:
    @click.option("--app", metavar="MODULE:HOST", help="The host; [tool.locum] app of pyproject.toml if not given.")
    @click.option("--store", metavar="URL", help="Another store than the host's.")
    @click.option("--namespace", metavar="NAME", help="The host's name; with --store, no module is imported.")
    @functools.wraps(command)
    def with_place(app: str | None, store: str | None, namespace: str | None, **others: Any) -> object:
        return command(place=lambda: find(app, store, namespace), **others)

    return cast("F", with_place)


def _place(app: str | None, store: str | None, namespace: str | None) -> Place:
    if store is not None and namespace is not None:
        return Place(store, namespace, job_store=_jobs_beside(store))
    from locum.cli.app import configured_app, load_host

    if store is not None and not (app or configured_app()):
        raise ConfigurationError(
            "a store is named, and no host on it: give the host's name as --namespace NAME, or the host itself as --app"
            " MODULE:HOST"
        )
    host = load_host(app)
    settings = host.settings
    settings = replace(settings, store=store or settings.store)
    url, has_jobs = settings.store_url, host.plan.roster is not None
    return Place(
        url,
        namespace or host.name,
        settings.ttl,
        is_given=store is not None,
        job_store=settings.job_store_url if has_jobs else None,
    )


def _jobs_beside(store: str) -> str | None:
    from locum.jobs.database import job_store_beside

    try:
        return job_store_beside(store)
    except ConfigurationError:
        return None  # they have a database of their own, or there are none


def _place_if_any(app: str | None, store: str | None, namespace: str | None) -> Place | None:
    from locum.cli.app import configured_app

    if not (app or store or namespace or configured_app()):
        return None
    if store is not None and not (app or namespace or configured_app()):
        return Place(store, _NOBODY, has_host=False)
    return _place(app, store, namespace)


def file_of(url: str) -> Path | None:
    """The file that a store's URL names; `None` if the store is a server."""
    parts = urlsplit(url)
    return Path(unquote(parts.path[1:])).absolute() if parts.scheme == "sqlite" else None


@asynccontextmanager
async def looking_at(place: Place, *, clock: Clock) -> AsyncIterator[Store]:
    """The store, open for the length of the block; one that is not there is not made.

    Raises:
        StoreUnavailableError: It is not there, or does not answer.
    """
    store = make_store(place.url, namespace=place.namespace, clock=clock)
    store.call_timeout = 5.0  # a person waits rather longer than a lease
    await store.open(make=False)
    try:
        yield store
    finally:
        await store.close()


async def look_again(place: Place, store: Store) -> None:
    """Open a store anew that was wiped, exchanged or put back: who only looks takes it as it is.

    Raises:
        StoreUnavailableError: Nothing is there; the store that was open stays so, and says the same again.
    """
    async with looking_at(place, clock=Clock()):
        pass
    await store.close()
    store.seen = None
    await store.open(make=False)
