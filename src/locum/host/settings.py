"""A host's own settings: what the code says, and what files, environment and command line say instead."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from locum.errors import ConfigurationError
from locum.host.probes import parse_address
from locum.identity import host_name
from locum.keeper.budget import Budget
from locum.keeper.hang import check_hang_timeout
from locum.logs import LOG_FORMATS, LOG_LEVELS
from locum.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from locum.host.layers import Layer

__all__ = [
    "HEALTH_FILE_VARIABLE",
    "INSTANCE_VARIABLE",
    "KEYS",
    "LIMIT_KEYS",
    "LOG_KEYS",
    "SECTION",
    "STORE_VARIABLE",
    "TTL_VARIABLE",
    "Settings",
    "absolute",
    "all_wrong",
]

SECTION: Final = "locum"
STORE_VARIABLE: Final = "LOCUM_STORE"
INSTANCE_VARIABLE: Final = "LOCUM_INSTANCE"
TTL_VARIABLE: Final = "LOCUM_TTL"
HEALTH_FILE_VARIABLE: Final = "LOCUM_HEALTH_FILE"

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
        stop_timeout: Seconds that the stop of all services may take; `None` for what the longest chain of them may.
        drain_delay: Seconds for which all still run after it was announced that they stop.
        health: Where probes are answered, as HOST:PORT; `None` for nowhere.
        health_file: A file that is touched as long as the instance is live; `None` for none.
        log_format: `console` or `json`.
        log_level: The least level that is logged; `None` for `info` of Locum and `warning` of everybody else.
        job_store: The job database's URL; `None` for one beside the store.
        state_store: The URL of the database of services' states; `None` for one beside the store.
    """

    name: str
    store: str | None
    ttl: float
    instance: str | None
    hang_timeout: float
    folder: Path
    stop_timeout: float | None = None
    drain_delay: float = 0.0
    health: str | None = None
    health_file: str | None = None
    log_format: str = "console"
    log_level: str | None = None
    job_store: str | None = None
    state_store: str | None = None

    def under(self, layers: Sequence[Layer], wrong: list[str]) -> tuple[Settings, dict[str, str]]:
        """The settings as the layers override them, and where each that they override comes from.

        Args:
            layers: The lowest first.
            wrong: Takes up what is wrong with any of them.
        """
        found: dict[str, object] = {}
        origins: dict[str, str] = {}
        for layer in layers:
            for key, given, name, text in _given(layer, wrong):
                if key not in KEYS:
                    wrong.append(f"{name} is not known: it is one of {', '.join(KEYS)}")
                    continue
                try:
                    found[key], origins[key] = _KINDS[key](given), name
                except ValueError as error:
                    wrong.append(f"{text} {error}")
        changed = replace(self, **found)  # type: ignore[arg-type]
        wrong += changed._wrong(origins)
        return changed, origins

    def _wrong(self, origins: dict[str, str]) -> list[str]:
        wrong = []
        checks: dict[str, Callable[[], object]] = {
            "name": lambda: check_name(self.name, what="the name of a host"),
            "instance": lambda: self.instance is None or check_name(self.instance, what="the name of an instance"),
            "ttl": lambda: Budget.of_seconds(self.ttl),
            "hang_timeout": lambda: check_hang_timeout(self.hang_timeout),
            "stop_timeout": lambda: _check_time("stop_timeout", self.stop_timeout, above=0),
            "drain_delay": lambda: _check_time("drain_delay", self.drain_delay),
            "health": lambda: self.health is None or parse_address(self.health),
        }
        for key, check in checks.items():
            try:
                check()
            except ConfigurationError as error:
                wrong.append(f"{origins[key]}: {error}" if key in origins else str(error))
        return wrong

    def instance_under(self, keeper: int) -> str:
        """The instance's name."""
        return self.instance or f"{host_name()}-{keeper}"

    @property
    def store_url(self) -> str:
        """The store's URL with an absolute path, if it is a file."""
        return absolute(self.store or f"{_SQLITE}{self.name}.locum.db", self.folder)

    @property
    def job_store_url(self) -> str:
        """The job database's URL with an absolute path, if it is a file.

        Raises:
            ConfigurationError: None is given, and the store keeps no jobs.
        """
        from locum.jobs.database import job_store_beside

        return absolute(self.job_store, self.folder) if self.job_store else job_store_beside(self.store_url)

    @property
    def state_store_url(self) -> str:
        """The URL of the database of services' states with an absolute path, if it is a file.

        Raises:
            ConfigurationError: None is given, and the store keeps no states.
        """
        from locum.state.database import state_store_beside

        return absolute(self.state_store, self.folder) if self.state_store else state_store_beside(self.store_url)


def absolute(url: str, folder: Path) -> str:
    """A store's URL with an absolute path, if it is a file; a relative one begins in the folder."""
    if url.startswith(_SQLITE):
        return _SQLITE + quote(str((folder / unquote(url.removeprefix(_SQLITE))).absolute()))
    return url


def all_wrong(wrong: Sequence[str]) -> ConfigurationError:
    """One error that says all that is wrong."""
    if len(wrong) == 1:
        return ConfigurationError(wrong[0])
    return ConfigurationError(f"{len(wrong)} settings are wrong:" + "".join(f"\n  - {one}" for one in wrong))


def _given(layer: Layer, wrong: list[str]) -> Iterator[tuple[str, object, str, str]]:
    """What a layer says about Locum: the key, what is given, its name, and both for a message."""
    try:
        for key, given in layer.section(SECTION).items():
            yield key, given, layer.called(f"{SECTION}.{key}"), layer.called(f"{SECTION}.{key}={given!r}")
    except ConfigurationError as error:
        wrong.append(str(error))
    for key, (name, text) in layer.flat(SECTION).items():
        if key in KEYS or layer.by_key:  # other variables of that prefix are somebody else's
            yield key, text, layer.called(name), layer.called(f"{name}={text!r}")


def _check_time(key: str, value: float | None, *, above: float = -1.0) -> None:
    if value is not None and not (value > above and 0 <= value < math.inf):
        least = "above 0" if above == 0 else "of 0 or more"
        raise ConfigurationError(f"{key}={value!r} must be a number of seconds {least}")


def _number(given: object) -> float:
    try:
        if isinstance(given, bool) or not isinstance(given, (int, float, str)):
            raise ValueError
        return float(given)
    except ValueError:
        raise ValueError("is no number of seconds") from None


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("is no text: put it in quotes")
    return given


def _one_of(names: Sequence[str]) -> Callable[[object], str]:
    def check(given: object) -> str:
        if not isinstance(given, str) or given.lower() not in names:
            raise ValueError(f"is not one of {', '.join(names)}")
        return given.lower()

    return check


_KINDS: Final[dict[str, Callable[[object], object]]] = {
    "store": _text,
    "ttl": _number,
    "instance": _text,
    "hang_timeout": _number,
    "stop_timeout": _number,
    "drain_delay": _number,
    "health": _text,
    "health_file": _text,
    "log_format": _one_of(LOG_FORMATS),
    "log_level": _one_of(LOG_LEVELS),
    "job_store": _text,
    "state_store": _text,
}
KEYS: Final = tuple(_KINDS)
LOG_KEYS: Final = frozenset({"log_format", "log_level"})
LIMIT_KEYS: Final = frozenset({"stop_timeout", "drain_delay", "hang_timeout"})
"""With `LOG_KEYS` those that a reload changes; the others wait for the next start."""
