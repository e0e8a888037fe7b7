"""A section of the settings as a model of pydantic: merged from all layers, checked, and each value with its origin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from locum.errors import ConfigurationError
from locum.host.layers import variable_of
from locum.registry import is_secret, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from locum.host.layers import Layer

__all__ = ["Read", "read_model"]

_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Read:
    """What was read.

    Attributes:
        value: The model; `None` if something is wrong.
        wrong: What is, each with its place.
        shown: Every value by key, without secrets, with its origin.
    """

    value: Any
    wrong: list[str]
    shown: list[tuple[str, Any, str]]


def read_model(model: type[Any], section: str, layers: Sequence[Layer]) -> Read:
    """Read one section as a model, from all layers."""
    if not issubclass(model, BaseModel) or issubclass(model, BaseSettings):
        wrong = (
            f"{model.__name__} must derive from pydantic.BaseModel: Locum reads the layers, the model only checks them"
        )
        return Read(None, [wrong], [])
    merged: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    wrong_ones: list[str] = []
    for layer in layers:
        try:
            tree = dict(layer.section(section))
        except ConfigurationError as error:
            wrong_ones.append(str(error))
            continue
        for path in _leaves(tree):
            origins[path] = layer.called(".".join((section, *path)))
        _merge(merged, tree)
        flat = layer.flat(section)
        tree = _from_flat(model, section, flat, layer, wrong_ones)
        for path in _leaves(tree):
            origins[path] = layer.called(_name_of(path, flat))
        _merge(merged, tree)
    try:
        value = model.model_validate(merged)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            wrong_ones.append(_sentence(section, one["loc"], one["type"], one["msg"], origins))
        return Read(None, wrong_ones, [])
    for path, known in _unknown(value, merged):
        key, where = ".".join((section, *path)), _origin(path, origins)
        place = where if where.endswith(key) else f"{where}: {key}"
        wrong_ones.append(f"{place} is not known: it is one of {', '.join(known)}")
    shown = [(".".join(path), _shown(path[-1], one), _origin(path, origins)) for path, one in _values(value)]
    return Read(None if wrong_ones else value, wrong_ones, shown)


def _from_flat(
    model: type[BaseModel], section: str, flat: Mapping[str, tuple[str, str]], layer: Layer, wrong: list[str]
) -> dict[str, Any]:
    """Variables as the tree that they make: pydantic-settings knows which hold JSON, and which go deeper."""
    if not flat:
        return {}
    config = SettingsConfigDict(extra="ignore")
    readable = type(model.__name__, (model, BaseSettings), {"model_config": config, "__module__": model.__module__})
    texts: dict[str, str | None] = {key: text for key, (_, text) in flat.items()}
    while True:
        source = EnvSettingsSource(readable, case_sensitive=False, env_prefix="", env_nested_delimiter="__")
        source.env_vars = texts
        try:
            return source()
        except SettingsError as error:
            found = re.search(r'field "(\w+)"', str(error))
            keys = [key for key in texts if found is not None and key.split("__")[0] == found[1].lower()]
            keys = [key for key in keys if (texts[key] or "").lstrip()[:1] in ("[", "{")] or keys
            for key in keys:
                texts.pop(key)
            name = flat[keys[0]][0] if keys else section
            wrong.append(f"{layer.called(name)} is no JSON, which this setting needs: write it like [1, 2] or {{}}")
            if not keys:
                return {}


def _sentence(
    section: str, place: tuple[Any, ...], kind: str, text: str, origins: Mapping[tuple[str, ...], str]
) -> str:
    path = tuple(map(str, place))
    key = ".".join((section, *path))
    if kind == "missing":
        *above, last = path
        return (
            f"{key} is not set: write {last} = ... under [{'.'.join((section, *above))}] in the settings file, or set"
            f" {_variable(section, path)}"
        )
    where, text = _origin(path, origins), text.removeprefix("Value error, ")  # the user's own words
    return f"{key}: {text}" if where == "code" else f"{where}: {text}"


def _variable(section: str, path: tuple[str, ...]) -> str:
    return f"{variable_of(section)}_{'__'.join(path).upper()}"


def _name_of(path: tuple[str, ...], flat: Mapping[str, tuple[str, str]]) -> str:
    """What the variable is called that a value comes from; a whole branch may have come as JSON from one above."""
    for length in range(len(path), 0, -1):
        key = "__".join(path[:length]).lower()
        if key in flat:
            return flat[key][0]
    return ".".join(path)


def _origin(path: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    below = [origin for one, origin in origins.items() if one[: len(path)] == path and path]
    return below[-1] if below else "code"


def _leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _merge(under[key], value)
        else:
            under[key] = dict(value) if isinstance(value, dict) else value


def _values(model: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, (*above, name))
        else:
            yield (*above, name), value


def _unknown(
    model: BaseModel, given: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """What was given and means nothing: most likely a slip of the pen."""
    fields = type(model).model_fields
    names = {alias for name, field in fields.items() for alias in (name, field.alias, field.validation_alias)}
    for key, value in given.items():
        inner = getattr(model, key, None)
        if key not in names:
            if type(model).model_config.get("extra") != "allow":
                yield (*above, key), list(fields)
        elif isinstance(value, dict) and isinstance(inner, BaseModel):
            yield from _unknown(inner, value, (*above, key))


def _shown(name: str, value: Any) -> Any:
    """A value for people, without what nobody should read over a shoulder."""
    match value:
        case None | bool() | int() | float():
            return value
        case SecretStr() | SecretBytes():
            return _HIDDEN
        case dict():
            return {str(key): _shown(str(key), one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_shown(name, one) for one in value]
        case BaseModel():
            return {".".join(path): _shown(path[-1], one) for path, one in _values(value)}
    return _HIDDEN if str(value) and is_secret(name) else without_secrets(str(value))
