"""No module needs itself in the end: circles of imports, those for the type checker and inside functions included."""

from collections.abc import Iterator, Mapping

import pytest

from tests.architecture.conftest import Plant, clean
from tests.architecture.tree import PACKAGE, Tree


def circles(tree: Tree) -> list[str]:
    edges: dict[str, set[str]] = {module.name: set() for module in tree}
    for module, imported in tree.inner_imports():
        if imported.target in edges:
            edges[module.name].add(imported.target)
    return sorted({_from_smallest(path) for start in edges for path in _shortest_circle(start, edges)})


def _shortest_circle(start: str, edges: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Breadth first from `start` until something imports it again."""
    came_from: dict[str, str | None] = {start: None}
    queue = [start]
    for module in queue:
        if start in edges[module]:
            path = [module]
            while (before := came_from[path[-1]]) is not None:
                path.append(before)
            yield path[::-1]
            return
        new = sorted(edges[module] - came_from.keys())
        came_from |= dict.fromkeys(new, module)
        queue += new


def _from_smallest(path: list[str]) -> str:
    """One spelling for a circle, wherever it was entered."""
    first = path.index(min(path))
    around = path[first:] + path[:first]
    return " -> ".join([*around, around[0]])


def test_no_circle(house: Tree) -> None:
    clean(circles(house))


@pytest.mark.parametrize(
    "back",
    [
        "from locum.keeper.cell import Cell",
        "from . import cell",
        "def f() -> None:\n    from locum.keeper import cell",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from locum.keeper import cell",
    ],
)
def test_a_circle_is_noticed(plant: Plant, back: str) -> None:
    tree = plant({"keeper/cell.py": "from . import timer", "keeper/timer.py": "import os", "keeper/witness.py": ""})
    assert circles(tree) == []
    tree = plant(
        {"keeper/cell.py": "from . import timer", "keeper/timer.py": "from . import witness", "keeper/witness.py": back}
    )
    name = f"{PACKAGE}.keeper."
    assert circles(tree) == [f"{name}cell -> {name}timer -> {name}witness -> {name}cell"]


def test_a_module_and_its_own_package_make_a_circle(plant: Plant) -> None:
    tree = plant({"keeper/__init__.py": "from .cell import Cell", "keeper/cell.py": "from locum.keeper import Other"})
    assert circles(tree) == ["locum.keeper -> locum.keeper.cell -> locum.keeper"]


def test_a_module_that_imports_itself_is_noticed(plant: Plant) -> None:
    assert circles(plant({"store.py": "import locum.store"})) == ["locum.store -> locum.store"]
