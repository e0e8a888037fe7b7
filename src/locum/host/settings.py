"""A host's settings: what the code says, overridden by the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from locum.errors import ConfigurationError
from locum.identity import host_name
from locum.keeper.budget import Budget
from locum.keeper.hang import check_hang_timeout
from locum.names import check_name

__all__ = ["INSTANCE_VARIABLE", "STORE_VARIABLE", "TTL_VARIABLE", "Settings", "absolute"]

STORE_VARIABLE: Final = "LOCUM_STORE"
INSTANCE_VARIABLE: Final = "LOCUM_INSTANCE"
TTL_VARIABLE: Final = "LOCUM_TTL"

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one host.

    Attributes:
        name: The host's name, which is the namespace in the store.
        store: The store's URL; `None` for a SQLite file beside the user's module.
        ttl: The TTL in seconds.
        instance: The instance's name; `None` for one made of the machine's name and the keeper's pid.
        hang_timeout: Seconds after which a worker whose loop does not turn is ended; `math.inf` for never.
        folder: Where a relative SQLite path begins: beside the user's module.
    """

    name: str
    store: str | None
    ttl: float
    instance: str | None
    hang_timeout: float
    folder: Path

    def with_environment(self) -> Settings:
        """The settings, as the environment overrides them.

        Raises:
            ConfigurationError: One of them cannot be.
        """
        changed = replace(
            self,
            store=os.environ.get(STORE_VARIABLE) or self.store,
            instance=os.environ.get(INSTANCE_VARIABLE) or self.instance,
            ttl=_number(TTL_VARIABLE, self.ttl),
        )
        check_name(changed.name, what="the name of a host")
        if changed.instance is not None:
            check_name(changed.instance, what="the name of an instance")
        Budget.of_seconds(changed.ttl)
        check_hang_timeout(changed.hang_timeout)
        return changed

    def instance_under(self, keeper: int) -> str:
        """The instance's name."""
        return self.instance or f"{host_name()}-{keeper}"

    @property
    def store_url(self) -> str:
        """The store's URL with an absolute path, if it is a file."""
        return absolute(self.store or f"{_SQLITE}{self.name}.locum.db", self.folder)


def absolute(url: str, folder: Path) -> str:
    """A store's URL with an absolute path, if it is a file; a relative one begins in the folder."""
    if url.startswith(_SQLITE):
        return _SQLITE + quote(str((folder / unquote(url.removeprefix(_SQLITE))).absolute()))
    return url


def _number(variable: str, otherwise: float) -> float:
    text = os.environ.get(variable)
    if not text:
        return otherwise
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r} is no number of seconds") from None
