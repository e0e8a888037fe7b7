"""The house as it stands, and small houses with one thing wrong in them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.architecture.tree import PACKAGE, SOURCE, Tree

Plant = Callable[[Mapping[str, str]], Tree]


def clean(found: list[str]) -> None:
    """Fails with every finding on a line of its own."""
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture(scope="session")
def house() -> Tree:
    tree = Tree(SOURCE)
    assert PACKAGE in tree.modules, "the checks would pass on nothing at all"
    return tree


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Builds a tree from the text of its files, by path below the package."""

    def build(files: Mapping[str, str]) -> Tree:
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / PACKAGE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
            (path.parent / "__init__.py").touch()
        return Tree(tmp_path)

    return build
