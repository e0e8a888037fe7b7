"""Which host is meant: `MODULE:HOST` on the command line, or `[tool.locum] app` in the nearest pyproject.toml."""

from __future__ import annotations

import contextlib
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.host.host import Host

__all__ = ["app_name", "configured_app", "load_host"]


def app_name(given: str | None) -> str:
    """The `MODULE:HOST` that is meant.

    Args:
        given: What the command line names, if anything.

    Raises:
        ConfigurationError: Nothing names one.
    """
    found = given or configured_app()
    if found is None:
        file = _nearest(Path.cwd())
        where = f"in {file}" if file else "in a pyproject.toml"
        raise ConfigurationError(
            f'no host is named: give MODULE:HOST, or write app = "MODULE:HOST" under [tool.locum] {where}'
        )
    return found


def configured_app() -> str | None:
    """The `MODULE:HOST` that the nearest pyproject.toml upwards names, if there is one and it does.

    Raises:
        ConfigurationError: It cannot be read.
    """
    file = _nearest(Path.cwd())
    if file is None:
        return None
    try:
        app = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("locum", {}).get("app")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{file} is not readable: {error}") from error
    return app if isinstance(app, str) and app else None


def load_host(given: str | None) -> Host:
    """Import the host that is meant, as a worker would: from the current folder.

    What the module prints meanwhile goes to stderr, so that a command's own output stays what it is.
    """
    from locum.host.finding import find_host

    name = app_name(given)
    sys.path.insert(0, str(Path.cwd()))
    with contextlib.redirect_stdout(sys.stderr), _only_declared():
        return find_host(name)


@contextlib.contextmanager
def _only_declared() -> Iterator[None]:
    """A module that runs its host while it is imported would turn whoever only looks into an instance."""
    from locum.host.host import Host

    run = Host.run

    def refuse(self: Host, *, embedded: bool = False) -> None:
        del embedded
        raise ConfigurationError(
            f"the host {self.name} is run when its module is imported: put host.run() under if __name__ == '__main__'"
        )

    Host.run = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        Host.run = run  # type: ignore[method-assign]


def _nearest(folder: Path) -> Path | None:
    files = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    return next((file for file in files if file.is_file()), None)
