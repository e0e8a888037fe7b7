"""How the tables of an older release are brought forward, one schema after the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from locum.databases.schema import add_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Table

__all__ = ["moves"]


def moves(runs: Table, history: Table) -> dict[int, Callable[[Connection], None]]:
    """What makes a schema out of the one before it."""
    return {2: partial(_to_2, runs, history)}


def _to_2(runs: Table, history: Table, db: Connection) -> None:
    """Runs have a key that they share a limit by."""
    for table in (runs, history):
        add_columns(db, table, "limit_key", "key_places")
    next(one for one in runs.indexes if one.name == "job_runs_by_key").create(db)
