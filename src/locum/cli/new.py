"""`locum new`: a small project that runs and tests itself."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from locum import exit_codes
from locum.errors import ConfigurationError
from locum.names import check_name

__all__ = ["command"]

_FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "app.py.txt": "{{module}}.py",
    "settings.toml.txt": "settings.toml",
    "test_app.py.txt": "tests/test_{{module}}.py",
    "README.md.txt": "README.md",
}


@click.command("new", short_help="Write a small project that runs and tests itself.")
@click.argument("name", metavar="NAME")
@click.option("--into", metavar="FOLDER", type=click.Path(path_type=Path), help="Where; ./NAME if not given.")
def command(name: str, into: Path | None) -> int:
    """Write a project called NAME: a service, its settings, and a test that kills an instance of it.

    A folder that is not empty is left alone.
    """
    words = _words(name)
    folder = into or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there already and not empty: choose another NAME, or --into elsewhere")
    for source, target in _FILES.items():
        path = folder / _filled(target, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (files("locum.cli") / "project" / source).read_text(encoding="utf-8")
        path.write_text(_filled(text, words), encoding="utf-8")
        click.echo(f"wrote {path}")
    click.echo(f"\nNow: cd {folder} && locum run; and pytest, which starts two instances and kills one.")
    return exit_codes.CLEAN


def _words(name: str) -> dict[str, str]:
    check_name(name, what="the name of a project")
    module = re.sub(r"\W+", "_", name).lower()
    if not module.isidentifier():
        raise ConfigurationError(f"{name!r} cannot be the name of a project: begin it with a letter, as modules do")
    return {
        "project": name,
        "module": module,
        "variable": module.upper(),
        "model": "".join(word.capitalize() for word in module.split("_")) + "Settings",
    }


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words[found[1]], text)
