"""What is public is what `__all__` says, and `__all__` says what the committed list says."""

import ast
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.conftest import Plant, clean
from tests.architecture.public_names import COMMAND, exported, listed_names, public_names
from tests.architecture.tree import SOURCE, Module, Tree

PROJECT = SOURCE.parent / "pyproject.toml"


def differences(tree: Tree, listed: list[str]) -> list[str]:
    present, expected = set(public_names(tree)), set(listed)
    return [f"{name} is public and not in the list" for name in sorted(present - expected)] + [
        f"{name} is in the list and no longer public" for name in sorted(expected - present)
    ]


def without_all(tree: Tree) -> list[str]:
    return [
        f"{module.at(1)}: {module.name} has no __all__ of literal names"
        for module in tree
        if module.is_public and not _is_bare(module) and exported(module) is None
    ]


def dangling(tree: Tree, targets: Iterable[str]) -> list[str]:
    """The entry points that name nothing public, in the modules that are there."""
    public = set(public_names(tree))
    return [
        f"{target} is no public name"
        for target in targets
        if _module_of(target) in tree.modules and target not in public and not _is_public_module(tree, target)
    ]


def _module_of(target: str) -> str:
    return target.partition(":")[0]


def _is_public_module(tree: Tree, target: str) -> bool:
    """A plugin of pytest's is a whole module."""
    return target in tree.modules and tree.modules[target].is_public


def entry_points(path: Path = PROJECT) -> list[str]:
    """Everything that the installed package offers by name: its commands and its drivers."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    groups = [project["scripts"], *project["entry-points"].values()]
    return [target for group in groups for target in group.values()]


def _is_bare(module: Module) -> bool:
    """Nothing in it but a docstring, as in most packages' own file."""
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in module.syntax.body)


def test_the_list_is_up_to_date(house: Tree) -> None:
    found = differences(house, listed_names())
    clean(found and [*found, f"if that is meant: {COMMAND}"])


def test_the_list_is_in_order() -> None:
    assert listed_names() == sorted(set(listed_names()))


def test_every_public_module_says_what_is_public(house: Tree) -> None:
    clean(without_all(house))


def test_entry_points_name_public_names(house: Tree) -> None:
    clean(dangling(house, entry_points()))


def test_an_entry_point_that_names_nothing_is_noticed(plant: Plant, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project.scripts]\nlocum = "locum.cli.main:main"\n'
        '[project.entry-points."locum.stores"]\nsqlite = "locum.stores.sqlite:open_it"\n'
    )
    tree = plant({"stores/sqlite.py": '__all__ = ["open_store"]'})
    assert dangling(tree, entry_points(path)) == ["locum.stores.sqlite:open_it is no public name"]
    assert dangling(tree, ["locum.stores.sqlite"]) == [], "a whole module, as pytest takes it"


def test_a_name_that_comes_or_goes_is_noticed(plant: Plant, tmp_path: Path) -> None:
    tree = plant({"store.py": '__all__ = ["Record", "Store"]', "keeper/cell.py": '__all__: list[str] = ["Cell"]'})
    path = tmp_path / "list.txt"
    path.write_text("locum.keeper.cell:Cell\nlocum.store:Gone\nlocum.store:Store\n")
    assert differences(tree, listed_names(path)) == [
        "locum.store:Record is public and not in the list",
        "locum.store:Gone is in the list and no longer public",
    ]


@pytest.mark.parametrize(
    "text", ["x = 1", "__all__ = [x.__name__ for x in ()]", "__all__ = [NAME]", "from os import path"]
)
def test_a_module_without_all_is_noticed(plant: Plant, text: str) -> None:
    assert without_all(plant({"store.py": text}))


def test_private_and_empty_modules_need_no_all(plant: Plant) -> None:
    tree = plant({"_linux.py": "x = 1", "keeper/_cell.py": '__all__ = ["x"]', "stores/__init__.py": '"""Drivers."""'})
    assert without_all(tree) == []
    assert public_names(tree) == []
