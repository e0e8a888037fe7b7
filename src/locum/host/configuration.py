"""All settings of a host as one snapshot: read together, checked together, exchanged together.

Promises: a snapshot is never half old and half new, and one that is wrong is never taken over: the last good one stays.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from locum.errors import ConfigurationError
from locum.host.settings import KEYS, SECTION, Settings, all_wrong
from locum.registry import without_secrets
from locum.telemetry import logger, tell_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from locum.clock import Clock
    from locum.host.layers import Sources

__all__ = ["Configuration", "Options", "Snapshot", "Value"]

T = TypeVar("T")
H = TypeVar("H", bound="Callable[..., object]")

_log = logger("host.settings")
_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Value:
    """One setting for people to see.

    Attributes:
        key: Its section and key.
        value: What it is, without secrets.
        origin: Where that comes from.
    """

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All settings as they were at one moment.

    Attributes:
        settings: The host's own.
        options: The user's, by their section.
        values: All of them, for people to see.
    """

    settings: Settings
    options: Mapping[str, Any]
    values: tuple[Value, ...]


class Options(Generic[T]):
    """A section of the settings, as a model of the user's; made by `host.options`.

    Args:
        model: A pydantic model.
        section: The section's name.
        configuration: Where it is read.
    """

    def __init__(self, model: type[T], section: str, configuration: Configuration) -> None:
        self.model, self.section = model, section
        self._configuration = configuration
        self.handlers: list[Callable[[T], object]] = []

    @property
    def current(self) -> T:
        """The values as they are now, checked; a reload exchanges the whole of it.

        Raises:
            ConfigurationError: Nothing was read yet, and what is there cannot be.
        """
        return self._configuration.snapshot.options[self.section]  # type: ignore[no-any-return]

    def on_change(self, handler: H) -> H:
        """Call a function (plain or async) with the new values whenever a reload has changed them."""
        self.handlers.append(handler)
        return handler


class Configuration:
    """Where a host's settings are read, and read again.

    Args:
        code: What the code says.
        sources: Where the other layers are.
    """

    def __init__(self, code: Settings, sources: Sources) -> None:
        self._code, self._sources = code, sources
        self._options: dict[str, Options[Any]] = {}
        self._snapshot: Snapshot | None = None
        self._spawn: Callable[[Coroutine[Any, Any, object], str], object] | None = None
        self._begun_with = code
        self._heeding: dict[frozenset[str], tuple[Callable[[Settings], object], Callable[[Settings], object]]] = {}
        self._tell: Callable[[str, list[str]], object] = lambda rejected, waiting: None

    def add(self, model: type[T], section: str) -> Options[T]:
        """Read a section as a model.

        Raises:
            ConfigurationError: It is no model, or the section is taken.
        """
        if not (inspect.isclass(model) and hasattr(model, "model_validate")):
            raise ConfigurationError(f"{model!r} is no model of pydantic: derive it from pydantic.BaseModel")
        if section == SECTION:
            raise ConfigurationError(f"the section {section!r} is for Locum's own settings: give it another name")
        if section in self._options:
            raise ConfigurationError(
                f"the section {section!r} is read as {self._options[section].model.__name__} already"
            )
        options = self._options[section] = Options(model, section, self)
        return options

    @property
    def snapshot(self) -> Snapshot:
        """What holds now; read on first use."""
        return self._snapshot or self.load()

    def load(self) -> Snapshot:
        """Read everything, and let it hold from now on.

        Raises:
            ConfigurationError: Something is wrong; all of it is named.
        """
        self._snapshot = self.read()
        self._begun_with = self._snapshot.settings
        return self._snapshot

    def read(self) -> Snapshot:
        """Read everything, and change nothing.

        Raises:
            ConfigurationError: Something is wrong; all of it is named.
        """
        wrong: list[str] = []
        values: list[Value] = []
        options: dict[str, Any] = {}
        layers = self._sources.read(wrong)
        if wrong:  # what a layer would have said nobody knows: the rest cannot be judged
            raise all_wrong(wrong)
        settings, origins = self._code.under(layers, wrong)
        values += _own_values(settings, origins)
        for section, one in self._options.items():
            from locum.host.models import read_model  # loads pydantic: whoever has no models needs none

            found = read_model(one.model, section, layers)
            wrong += found.wrong
            options[section] = found.value
            values += [Value(f"{section}.{key}", value, origin) for key, value, origin in found.shown]
        if wrong:
            raise all_wrong(wrong)
        return Snapshot(settings, options, tuple(values))

    def reload(self) -> bool:
        """Read everything again; what is wrong is told, and then all stays as it was.

        To be called in the event loop.

        Returns:
            Whether the settings could be read.
        """
        before = self.snapshot
        try:
            after = self.read()
            for check, _ in self._heeding.values():
                check(after.settings)
        except ConfigurationError as error:
            _log.error("The settings were not taken over, the last good ones stay: %s", error)
            self._tell(str(error), self._waiting(before.settings))
            return False
        self._snapshot = after  # one assignment: nobody sees half of it
        changed = [section for section in self._options if after.options[section] != before.options[section]]
        own = _changed(before.settings, after.settings)
        for keys, (_, heed) in self._heeding.items():
            if not keys.isdisjoint(own):
                heed(after.settings)
        waiting = self._waiting(after.settings)
        if not set(waiting).isdisjoint(f"{SECTION}.{key}" for key in own):
            _log.warning("Changed, but heeded at the next start only: %s.", ", ".join(waiting))
        self._tell("", waiting)
        _log.info("The settings were read again; changed: %s.", ", ".join(changed) or "nothing")
        for section in changed:
            for handler in self._options[section].handlers:
                tell_handler(handler, after.options[section], of=f"changes of {section}", spawn=self._spawn)
        return True

    def heed(
        self,
        keys: Collection[str],
        call: Callable[[Settings], object],
        *,
        check: Callable[[Settings], object] = lambda _: None,
    ) -> None:
        """Have some of Locum's own settings heeded at once when a reload has changed one of them.

        Args:
            keys: Which; who asks for the same ones later takes the place of who asked before.
            call: Given the new settings.
            check: Given them before anything is exchanged; a `ConfigurationError` of it is a rejection.
        """
        self._heeding[frozenset(keys)] = check, call

    def tell_with(self, tell: Callable[[str, list[str]], object]) -> None:
        """Tell what has become of each reload: why it was rejected (or nothing), and what waits for the next start."""
        self._tell = tell

    def _waiting(self, settings: Settings) -> list[str]:
        """What differs from the settings that this run began with, and is not heeded before the next one."""
        heeded = frozenset().union(*self._heeding)
        return [f"{SECTION}.{key}" for key in _changed(self._begun_with, settings) if key not in heeded]

    def spawn_with(self, spawn: Callable[[Coroutine[Any, Any, object], str], object]) -> None:
        """Start the tasks of asynchronous handlers so: given a coroutine and a name."""
        self._spawn = spawn

    async def watch(self, clock: Clock) -> None:
        """Read again whenever a file has changed and then stayed the same for a moment: nobody writes in one piece."""
        known = seen = await asyncio.to_thread(self._fingerprint)
        while self._sources.files():
            await clock.sleep(_LOOK_EVERY)
            now = await asyncio.to_thread(self._fingerprint)
            if now == seen and now != known:
                known = now
                self.reload()
            seen = now

    def _fingerprint(self) -> list[tuple[str, int, int, int] | None]:
        """By resolved path: Kubernetes exchanges the folder that a link names, and touches no file."""
        found: list[tuple[str, int, int, int] | None] = []
        for path in self._sources.files():
            real = os.path.realpath(path)
            try:
                stat = os.stat(real)  # noqa: PTH116 - of the path that was resolved, and no other
            except OSError:
                found.append(None)
            else:
                found.append((real, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return found


def _changed(before: Settings, after: Settings) -> list[str]:
    return [key for key in KEYS if getattr(after, key) != getattr(before, key)]


def _own_values(settings: Settings, origins: Mapping[str, str]) -> list[Value]:
    shown = {field.name: getattr(settings, field.name) for field in fields(settings)}
    shown["store"] = without_secrets(settings.store_url)
    for key in ("job_store", "state_store"):
        shown[key] = shown[key] and without_secrets(shown[key])
    return [Value(f"{SECTION}.{key}", shown[key], origins.get(key, "code")) for key in KEYS]
