"""For users' own tests: clusters of real instances that can be hurt, and what judges the rows that they wrote.

The names are loaded when they are used, so that the pytest plugin costs nothing where no test asks for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from locum.testing.clusters import Cluster, cluster
    from locum.testing.ledger import Ledger, Row, judge
    from locum.testing.watching import Active, WaitedInVainError

__all__ = ["Active", "Cluster", "Ledger", "Row", "WaitedInVainError", "cluster", "judge"]

_ROOMS: Final = {
    "Active": "watching",
    "Cluster": "clusters",
    "Ledger": "ledger",
    "Row": "ledger",
    "WaitedInVainError": "watching",
    "cluster": "clusters",
    "judge": "ledger",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'locum.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"locum.testing.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
