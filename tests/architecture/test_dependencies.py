"""Who may load which library: the terminal's stay with the terminal, and the keeper stays small."""

from collections.abc import Iterator

import pytest

from tests.architecture.conftest import Plant, clean
from tests.architecture.tree import PACKAGE, Tree, When, top_of

TERMINAL = {"click", "rich"}
TERMINAL_ROOMS = {"cli", "demo"}

# the keeper process: its own modules, and the store built in, which it reaches by entry point
KEEPER = ("locum.keeper", "locum.stores.sqlite")
NOT_IN_KEEPER = {
    "dishka",
    "dotenv",
    "sqlalchemy",
    "pydantic",
    "pydantic_settings",
    "structlog",
    "yaml",
    "click",
    "rich",
}


# each behind one seam, so that another library could take its place
SEAMS = {
    "dishka": "locum.host.container",
    "pydantic_settings": "locum.host.models",
    "uvicorn": "locum.services.asgi",
}


def seam_imports(tree: Tree) -> list[str]:
    return [
        f"{module.at(imported.line)}: {module.name} imports {imported.target}; only {SEAMS[library]} may"
        for module, imported in tree.imports()
        if (library := top_of(imported.target)) in SEAMS and module.name != SEAMS[library]
    ]


def terminal_imports(tree: Tree) -> list[str]:
    return [
        f"{module.at(imported.line)}: {module.name} imports {imported.target}; only {sorted(TERMINAL_ROOMS)} may"
        for module, imported in tree.imports()
        if top_of(imported.target) in TERMINAL and module.room not in TERMINAL_ROOMS
    ]


def keeper_imports(tree: Tree) -> list[str]:
    reached = _loaded_with(tree, [name for name in tree.modules if name.startswith(KEEPER)])
    return [
        f"{module.at(imported.line)}: {module.name} imports {imported.target}, and the keeper would load it"
        for module, imported in tree.imports()
        if module.name in reached and imported.when is not When.CALLED and top_of(imported.target) in NOT_IN_KEEPER
    ]


def _loaded_with(tree: Tree, names: list[str]) -> set[str]:
    """All modules that load when these load, the packages above each included."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in reached or name not in tree.modules:
            continue
        reached.add(name)
        waiting += _packages_above(name)
        for imported in tree.modules[name].imports:
            if imported.when is When.LOADING and top_of(imported.target) == PACKAGE:
                waiting.append(imported.target)
    return reached


def _packages_above(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def test_click_and_rich_stay_in_the_command_line(house: Tree) -> None:
    clean(terminal_imports(house))


def test_each_library_of_the_host_stands_behind_its_seam(house: Tree) -> None:
    clean(seam_imports(house))
    used = {top_of(imported.target) for _, imported in house.imports()}
    assert used >= SEAMS.keys()


def test_a_library_beside_its_seam_is_noticed(plant: Plant) -> None:
    assert seam_imports(plant({"host/runtime.py": "def f() -> None:\n    import dishka"}))
    assert seam_imports(plant({"host/runtime.py": "", "host/container.py": "import dishka"})) == []


def test_the_keeper_loads_no_foreign_library(house: Tree) -> None:
    clean(keeper_imports(house))


@pytest.mark.parametrize("text", ["import click", "def f() -> None:\n    from rich.table import Table"])
def test_a_terminal_library_elsewhere_is_noticed(plant: Plant, text: str) -> None:
    assert terminal_imports(plant({"host/host.py": text}))
    assert terminal_imports(plant({"host/host.py": "", "cli/run.py": text, "demo/live.py": text})) == []


@pytest.mark.parametrize(
    "files",
    [
        {"keeper/process.py": "import dishka"},
        {"keeper/process.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sqlalchemy import Engine"},
        {
            "keeper/process.py": "from locum.store import Store",
            "store.py": "from . import names",
            "names.py": "import pydantic",
        },
        {"keeper/process.py": "", "keeper/__init__.py": "import rich.console"},
        {"keeper/process.py": "", "__init__.py": "from locum.host import Host", "host/__init__.py": "import dishka"},
        {"stores/sqlite.py": "import sqlalchemy.ext.asyncio"},
    ],
)
def test_a_library_that_the_keeper_would_load_is_noticed(plant: Plant, files: dict[str, str]) -> None:
    assert keeper_imports(plant(files))


@pytest.mark.parametrize(
    "files",
    [
        {"keeper/process.py": "import sqlite3\ndef f() -> None:\n    import sqlalchemy"},
        {"keeper/process.py": "def f() -> None:\n    from locum import store", "store.py": "import sqlalchemy"},
        {"host/container.py": "import dishka"},
    ],
)
def test_what_the_keeper_does_not_load_is_let_through(plant: Plant, files: dict[str, str]) -> None:
    assert keeper_imports(plant(files)) == []
