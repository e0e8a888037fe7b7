"""From a store's URL to its driver.

Drivers register under the entry-point group `locum.stores`, named by their scheme; the ones that come with Locum are
known without a look at the installed packages. A driver is imported when its URL is used, not before.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from locum.errors import ConfigurationError, SchemaError, StoreError, UnknownStoreError
from locum.names import check_name
from locum.scopes import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.store import Store

__all__ = ["definition", "is_secret", "load_driver", "make_store", "open_when_there", "without_secrets"]

_OURS: Final = {
    "memory": "locum.stores.memory:make_store",
    "postgresql": "locum.stores.sql:make_store",
    "redis": "locum.stores.redis:make_store",
    "rediss": "locum.stores.redis:make_store",
    "sqlite": "locum.stores.sqlite:make_store",
    "zookeeper": "locum.stores.zookeeper:make_store",
}

_PASSWORD: Final = re.compile(r"(://[^\s/?#@:]*:)(?!\d*(?:[/?#]|$))[^\s,]*@")
"""A password before the address, also of the second URL of a list, or with a slash that should be written %2F."""

_CONFIDENTIAL: Final = (
    r"(?:[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|secret|private)[_-]?key|credentials?)"
    r"|pass|auth|key|sig|signature)"
)
"""A name that says that what it names is secret; `password_file` does not."""
_SECRET_NAME: Final = re.compile(_CONFIDENTIAL, re.IGNORECASE)
_SECRET_OPTION: Final = re.compile(rf"((?:^|[?&;\s]){_CONFIDENTIAL}=)[^&;#\s]+", re.IGNORECASE)


def make_store(url: str, *, namespace: str, clock: Clock) -> Store:
    """The store of a URL, not yet opened.

    Raises:
        UnknownStoreError: No driver for its scheme.
        MissingDriverError: A package that the driver needs is not installed; the message names the extra.
        ConfigurationError: The URL or the namespace is wrong.
    """
    check_name(namespace, what="a namespace")
    scheme = _scheme(url)
    make = cast("Callable[..., Store]", _load(scheme))
    return make(url, namespace=namespace, clock=clock)


async def open_when_there(store: Store, *, clock: Clock, told: Callable[[str], object]) -> None:
    """Open a store, for as long as that takes.

    Args:
        store: A store that is not open.
        clock: Measures the pauses between two tries.
        told: Called with each reason why it is not open yet.

    Raises:
        ConfigurationError: It can never work so.
        SchemaError: It was written by a newer release.
    """
    backoff = Backoff(0.05, 2.0)
    while True:
        try:
            await store.open()
        except SchemaError:
            raise
        except StoreError as error:
            told(str(error))
            await clock.sleep(backoff.delay())
        else:
            return


def is_secret(name: str) -> bool:
    """Whether the name of a setting or an option says that what it names is secret."""
    return _SECRET_NAME.fullmatch(name) is not None


def without_secrets(url: str) -> str:
    """The URL, or any text that may have one in it, without passwords and secret options, for messages."""
    try:
        password = urlsplit(url).password
    except ValueError:  # such as brackets that are not closed
        password = None
    if password:
        url = url.replace(f":{password}@", ":***@", 1)
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def load_driver(url: str) -> None:
    """Import all that the driver of a URL needs: before an event loop runs, which would stand still meanwhile.

    A driver whose library takes its time to load has a function `load` in its package. What is wrong with the URL, or
    missing, `make_store` tells.
    """
    try:
        make = _load(urlsplit(url).scheme)
        load = getattr(sys.modules[getattr(make, "__module__", "")], "load", None)
        if load is not None:
            load()
    except (ImportError, KeyError, ValueError, UnknownStoreError):
        pass


def definition(url: str) -> list[str]:
    """The statements that make the tables of a URL's store, for an owner who makes them before any instance starts.

    A driver whose store has tables has a function `definition` in its package.

    Raises:
        ConfigurationError: The store of this URL has none that anybody could make.
    """
    make = _load(_scheme(url))
    define = getattr(sys.modules[getattr(make, "__module__", "")], "definition", None)
    if define is None:
        raise ConfigurationError(f"{_scheme(url)}:// has no tables to be made before: its first instance makes all")
    statements: list[str] = define(url)
    return statements


def _scheme(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # such as brackets that are not closed
        scheme = ""
    if not scheme:
        shown = "what was given as the store" if "@" in url else repr(url)  # a password may stand in it
        raise ConfigurationError(f"{shown} is no store URL: write it like sqlite:///billing.db")
    return scheme


def _load(scheme: str) -> object:
    if scheme in _OURS:
        module, _, name = _OURS[scheme].partition(":")
        return getattr(importlib.import_module(module), name)
    from importlib.metadata import entry_points  # costs 10 ms, and only strangers' drivers need it

    found = entry_points(group="locum.stores")
    for point in found:
        if point.name == scheme:
            return point.load()
    raise UnknownStoreError(scheme, sorted({*_OURS, *(point.name for point in found)}))
