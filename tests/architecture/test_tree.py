"""The reader of trees itself: what an import means, and when it takes effect."""

import pytest

from tests.architecture.conftest import Plant
from tests.architecture.tree import When


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import locum.store", ("locum.store", None, When.LOADING)),
        ("from locum import store", ("locum.store", None, When.LOADING)),
        ("from locum import Host", ("locum", "Host", When.LOADING)),
        ("from locum.store import Store", ("locum.store", "Store", When.LOADING)),
        ("from . import cell", ("locum.keeper.cell", None, When.LOADING)),
        ("from .. import store", ("locum.store", None, When.LOADING)),
        ("from ..store import Store as S", ("locum.store", "Store", When.LOADING)),
        ("class C:\n    import os", ("os", None, When.LOADING)),
        ("try:\n    import os\nexcept ImportError: pass", ("os", None, When.LOADING)),
        ("async def f():\n    if x:\n        import os", ("os", None, When.CALLED)),
        ("f = lambda: __import__('os')", ("os", None, When.CALLED)),
        ("if TYPE_CHECKING:\n    import os", ("os", None, When.TYPING)),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import os", ("os", None, When.LOADING)),
        ("def f():\n    if t.TYPE_CHECKING:\n        import os", ("os", None, When.TYPING)),
        ("def f(x=importlib.import_module('os')): pass", ("os", None, When.LOADING)),
        ("def f():\n    import_module('.cell', __package__)", ("locum.keeper.cell", None, When.CALLED)),
    ],
)
def test_an_import_is_understood(plant: Plant, text: str, expected: tuple[str, str | None, When]) -> None:
    tree = plant({"store.py": "", "keeper/cell.py": "", "keeper/timer.py": text})
    assert [(found.target, found.name, found.when) for found in tree.modules["locum.keeper.timer"].imports] == [
        expected
    ]
