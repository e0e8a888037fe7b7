"""Where settings come from, one layer over the other: code < file < environment file < environment < command line.

A layer is read whole, and remembers what each of its values is called, so that every error can name its place.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COMMAND_LINE_VARIABLE", "CONFIG_VARIABLE", "ENV_FILE_VARIABLE", "Layer", "Sources", "variable_of"]

CONFIG_VARIABLE: Final = "LOCUM_CONFIG"
ENV_FILE_VARIABLE: Final = "LOCUM_ENV_FILE"
COMMAND_LINE_VARIABLE: Final = "LOCUM_COMMAND_LINE"
"""What the command line said, as a JSON object of texts by key: so the worker learns it, and no `ps` shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer as it was read.

    Attributes:
        name: What it is called: a file's path, `environment`, `command line`.
        tree: Its values by section and key, where it is a file.
        variables: Its values by name, where it is flat.
        by_key: Whether the flat names are keys (`billing.interval`) and not variables (`BILLING_INTERVAL`).
    """

    name: str
    tree: Mapping[str, Any] | None = None
    variables: Mapping[str, str] | None = None
    by_key: bool = False

    def section(self, section: str) -> Mapping[str, Any]:
        """One section of a file, such as `billing` or `services.billing`; empty if it is not there.

        Raises:
            ConfigurationError: It is something else than a section.
        """
        found: Any = self.tree or {}
        for part in section.split("."):
            found = found.get(part, {})
            if not isinstance(found, dict):
                raise ConfigurationError(f"{self.name}: {section} must be a section with keys, not {found!r}")
        return found  # type: ignore[no-any-return]

    def flat(self, section: str) -> dict[str, tuple[str, str]]:
        """The flat values of one section, by their key in lower case: what each is called here, and its text."""
        prefix = f"{section}." if self.by_key else variable_of(section) + "_"
        found = {}
        for name, text in (self.variables or {}).items():
            if name.upper().startswith(prefix.upper()):
                key = name[len(prefix) :].lower()
                found[key.replace(".", "__") if self.by_key else key] = (name, text)
        return found

    def called(self, name: str) -> str:
        """How one of its values is called in a message."""
        return f"--set {name}" if self.by_key else f"{self.name}: {name}"


def variable_of(key: str) -> str:
    """How the variable of a section or key is called: `services.billing` is `SERVICES__BILLING`."""
    return key.upper().replace(".", "__").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the layers are.

    Attributes:
        folder: Where a relative path that the code names begins.
        file: The file that the code names, if any.
        env_file: The environment file that the code names, if any; it need not be there.
    """

    folder: Path
    file: str | None = None
    env_file: str | None = None

    def files(self) -> list[Path]:
        """The files that are read, whether they are there or not."""
        return [path for path, _ in (self._file(), self._env_file()) if path is not None]

    def read(self, wrong: list[str]) -> list[Layer]:
        """Every layer above the code, the lowest first.

        Args:
            wrong: Takes up what is wrong with one that cannot be read.
        """
        layers: list[Layer] = []
        for make in (self._file_layer, self._env_file_layer, self._environment, self._command_line):
            try:
                layers += make()
            except ConfigurationError as error:
                wrong.append(str(error))
        return layers

    def _file(self) -> tuple[Path | None, bool]:
        return self._path(CONFIG_VARIABLE, self.file)

    def _env_file(self) -> tuple[Path | None, bool]:
        return self._path(ENV_FILE_VARIABLE, self.env_file)

    def _path(self, variable: str, in_code: str | None) -> tuple[Path | None, bool]:
        """A path, and whether the environment names it: that begins at the current folder."""
        named = os.environ.get(variable)
        if named:
            return Path(named).absolute(), True
        return (self.folder / in_code, False) if in_code else (None, False)

    def _file_layer(self) -> list[Layer]:
        path, is_variable = self._file()
        if path is None:
            return []
        read = _READERS.get(path.suffix.lower())
        if read is None:
            raise ConfigurationError(f"{path} cannot be read as settings: use .toml, .json, .yaml or .yml")
        try:
            tree = read(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            who = f"{CONFIG_VARIABLE} or --config" if is_variable else "Host(config=...)"
            raise ConfigurationError(f"{path} is not there, though {who} names it: make it, or name another") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} is not readable: {' '.join(str(error).split())}") from error
        if not isinstance(tree or {}, dict):
            raise ConfigurationError(f"{path} must have sections with keys, and not be a {type(tree).__name__}")
        return [Layer(name=str(path), tree=tree or {})]

    def _env_file_layer(self) -> list[Layer]:
        path, is_variable = self._env_file()
        if path is None or (not is_variable and not path.exists()):
            return []
        from dotenv import dotenv_values

        try:
            with path.open(encoding="utf-8") as file:
                found = dotenv_values(stream=file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} is not readable: {error}") from error
        return [Layer(name=str(path), variables={name: text for name, text in found.items() if text})]

    def _environment(self) -> list[Layer]:
        return [Layer(name="environment", variables={name: text for name, text in os.environ.items() if text})]

    def _command_line(self) -> list[Layer]:
        text = os.environ.get(COMMAND_LINE_VARIABLE)
        if not text:
            return []
        try:
            found = json.loads(text)
            return [Layer(name="command line", variables={str(k): str(v) for k, v in found.items()}, by_key=True)]
        except (ValueError, AttributeError) as error:
            raise ConfigurationError(f"{COMMAND_LINE_VARIABLE} is no JSON object: {error}") from error


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigurationError("it needs PyYAML: pip install 'locum[yaml]'") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}
