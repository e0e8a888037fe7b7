"""Imports run down only: the floors of the house, and the few doors between rooms on one floor.

An import inside a function or for the type checker counts like any other.
"""

import pytest

from tests.architecture.conftest import Plant, clean
from tests.architecture.tree import PACKAGE, Import, Module, Tree, When, room_of

FOUNDATION = ("errors", "clock")

# floor -> room -> the rooms on the same floor that it may import
FLOORS: dict[int, dict[str, tuple[str, ...]]] = {
    11: {"testing": (), "__main__": ()},
    10: {"cli": ("demo",), "demo": ()},
    9: {"dashboard": (), "integrations": ()},
    8: {"views": ()},
    7: {"host": ()},
    6: {"jobs": ()},
    5: {"services": ("state",), "state": ()},
    4: {"service": (), "blocking": (), "databases": ()},
    3: {"coordination": ("keeper",), "keeper": (), "stores": ()},
    2: {"store": (), "registry": ("store",), "journal": ("store",), "floor": ("store",)},
    1: {
        "errors": (),
        "clock": ("errors",),
        "scopes": FOUNDATION,
        "identity": FOUNDATION,
        "forks": FOUNDATION,
        "names": FOUNDATION,
        "telemetry": FOUNDATION,
        "logs": FOUNDATION,
        "threads": ("scopes",),
        "context": (*FOUNDATION, "identity", "scopes", "telemetry"),
        "exit_codes": FOUNDATION,
    },
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
FACE_REACHES = 8
MAY_USE_FACE = {"demo", "testing"}  # they are written as a user would write them
KNOWS_JOBS = "locum.views.jobs"


def wrong_imports(tree: Tree) -> list[str]:
    found = [
        f"{module.at(1)}: {module.name} stands on no floor; give '{module.room}' its place in FLOORS"
        for module in tree
        if module.room and module.room not in FLOOR_OF
    ]
    for module, imported in tree.inner_imports():
        objection = _objection(module, imported)
        if objection:
            found.append(f"{module.at(imported.line)}: {module.name} imports {imported.target}: {objection}")
    return found


def _objection(module: Module, imported: Import) -> str | None:
    room, target = module.room, room_of(imported.target)
    if not target:
        return None if room in MAY_USE_FACE else "nobody inside imports the face"
    if target not in FLOOR_OF or (room and room not in FLOOR_OF):
        return None if room else f"'{target}' is no room of the house"  # a room without a floor is reported once, above
    if not room:
        return _objection_to_face(imported, FLOOR_OF[target])
    if room == target:
        return None
    if FLOOR_OF[target] > FLOOR_OF[room]:
        return f"up from floor {FLOOR_OF[room]} to floor {FLOOR_OF[target]}"
    if FLOOR_OF[target] == FLOOR_OF[room] and target not in FLOORS[FLOOR_OF[room]][room]:
        return f"there is no door from {room} to {target} on floor {FLOOR_OF[room]}"
    if room == "views" and target == "jobs" and module.name != KNOWS_JOBS:
        return f"{KNOWS_JOBS} is the only view that knows jobs"
    return None


def _objection_to_face(imported: Import, floor: int) -> str | None:
    if floor > FACE_REACHES:
        return f"the face reaches up to floor {FACE_REACHES} only"
    return "the face loads a name when it is used" if imported.when is When.LOADING else None


def test_imports_run_down_only(house: Tree) -> None:
    clean(wrong_imports(house))


@pytest.mark.parametrize(
    ("file", "text", "objection"),
    [
        ("store.py", "from locum.keeper.cell import Cell", "up from floor 2 to floor 3"),
        ("store.py", "import locum.host", "up from floor 2 to floor 7"),
        ("store.py", "def f() -> None:\n    from locum.host import Host", "up from floor 2 to floor 7"),
        ("clock.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .host import x", "up from floor 1"),
        ("store.py", "from importlib import import_module\nimport_module('locum.host.host')", "up from floor 2"),
        ("keeper/cell.py", "from ..services import background", "up from floor 3 to floor 5"),
        ("cli/main.py", "from locum.testing import conformance", "up from floor 10 to floor 11"),
        ("clock.py", "from locum.scopes import Scope", "no door from clock to scopes"),
        ("names.py", "from locum.identity import Machine", "no door from names to identity"),
        ("store.py", "from locum.journal import Entry", "no door from store to journal"),
        ("registry.py", "import locum.journal", "no door from registry to journal"),
        ("coordination/line.py", "from locum.stores import sqlite", "no door from coordination to stores"),
        ("stores/sqlite.py", "from locum.coordination import line", "no door from stores to coordination"),
        ("stores/sqlite.py", "from locum.keeper import cell", "no door from stores to keeper"),
        ("keeper/cell.py", "from locum.coordination import line", "no door from keeper to coordination"),
        ("keeper/cell.py", "from locum.stores.sqlite import open_store", "no door from keeper to stores"),
        ("blocking.py", "from locum import service", "no door from blocking to service"),
        ("state/log.py", "from locum.services import stateful", "no door from state to services"),
        ("demo/main.py", "from locum.cli import main", "no door from demo to cli"),
        ("views/status.py", "from locum.jobs import job", "the only view that knows jobs"),
        ("host/host.py", "from locum import Term", "nobody inside imports the face"),
        ("host/host.py", "import locum", "nobody inside imports the face"),
        ("store.py", "from . import Host", "nobody inside imports the face"),
        ("__init__.py", "from locum.errors import LocumError", "loads a name when it is used"),
        ("__init__.py", "def f() -> None:\n    from locum.cli import main", "up to floor 8 only"),
        ("__init__.py", "def f() -> None:\n    from locum.attic import x", "'attic' is no room"),
        ("attic.py", "", "stands on no floor"),
    ],
)
def test_a_wrong_import_is_noticed(plant: Plant, file: str, text: str, objection: str) -> None:
    rooms = {"service.py": "", "attic.py": ""} if file == "__init__.py" else {"service.py": ""}
    found = wrong_imports(plant({**rooms, file: text}))
    assert any(objection in line and f"/{PACKAGE}/{file}:" in line for line in found), found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("clock.py", "from locum.errors import LocumError"),
        ("scopes.py", "from locum import clock, errors"),
        ("journal.py", "from .store import Store"),
        ("coordination/line.py", "from locum.keeper.cell import Cell"),
        ("coordination/line.py", "from . import grant"),
        ("services/stateful.py", "from locum.state import log"),
        ("host/host.py", "def f() -> None:\n    from locum.jobs import job"),
        ("views/jobs.py", "from locum.jobs import job"),
        ("cli/main.py", "import locum.demo"),
        ("demo/main.py", "from locum import Host"),
        ("testing/kit.py", "import locum"),
        ("__init__.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from locum.views import status"),
        ("__init__.py", "def __getattr__(name: str) -> object:\n    from locum.host import Host"),
    ],
)
def test_a_right_import_is_let_through(plant: Plant, file: str, text: str) -> None:
    assert wrong_imports(plant({"clock.py": "", "errors.py": "", file: text})) == []
