"""How the tables of an older release are brought forward, one schema after the other; none is ever brought back.

A step only adds: what is new may be empty, and is in no key of an older table, so that instances of the last release go
on working meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.schema import CreateColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Table

    from locum.jobs.tables import Tables

__all__ = ["bring_forward"]


def bring_forward(db: Connection, tables: Tables, found: int) -> None:
    """Bring tables forward; those that are new have been made already.

    Args:
        db: The transaction, which is alone with them.
        tables: As they are to be.
        found: The schema that they have.
    """
    for schema, move in _MOVES.items():
        if schema > found:
            move(db, tables)


def _to_2(db: Connection, tables: Tables) -> None:
    """Runs have a key that they share a limit by."""
    for table in (tables.runs, tables.history):
        _add_columns(db, table, "limit_key", "key_places")
    next(one for one in tables.runs.indexes if one.name == "job_runs_by_key").create(db)


_MOVES: Final[dict[int, Callable[[Connection, Tables], None]]] = {2: _to_2}


def _add_columns(db: Connection, table: Table, *names: str) -> None:
    name = db.dialect.identifier_preparer.format_table(table)
    for column in names:
        made = CreateColumn(table.c[column]).compile(dialect=db.dialect)
        db.execute(text(f"ALTER TABLE {name} ADD COLUMN {made}"))
