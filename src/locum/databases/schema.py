"""Which schema a ledger's tables have, and how an older release's are brought forward; none is ever brought back.

A move only adds: what is new may be empty, and is in no key of an older table, so that instances of the last release go
on working meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import Column, Integer, MetaData, SmallInteger, Table, insert, inspect, select, text, update
from sqlalchemy.schema import CreateColumn

from locum.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

__all__ = ["Schema", "add_columns", "meta_table"]

_ONE: Final = 1


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of a ledger, which are of one schema.

    Attributes:
        meta: Its table of one row: which schema it is, and the least that may read it. Its metadata has all tables.
        number: The schema that this release writes, and the highest that it reads.
        least_reader: The oldest release that may work on it, by the schema that it writes.
        moves: What makes a schema out of the one before it; tables that are new have been made already.
    """

    meta: Table
    number: int
    least_reader: int
    moves: Mapping[int, Callable[[Connection], None]] = field(default_factory=dict)

    def is_prepared(self, db: Connection, store: str) -> bool:
        """Whether the tables are there, of a schema that this release knows or a newer one that it may work on.

        Args:
            db: A transaction.
            store: The database's URL, for messages.

        Raises:
            SchemaError: They need a newer reader.
        """
        found = self._found(db, store)
        return found is not None and found >= self.number

    def prepare(self, db: Connection, store: str) -> None:
        """Make the tables where there are none, and bring those of an older release forward.

        Raises:
            SchemaError: What is there needs a newer reader.
        """
        found = self._found(db, store)
        if found is not None and found >= self.number:
            return
        self.meta.metadata.create_all(db)
        values = {"schema": self.number, "least_reader": self.least_reader}
        if found is None:
            db.execute(insert(self.meta).values(one=_ONE, **values))
            return
        for number, move in self.moves.items():
            if number > found:
                move(db)
        db.execute(update(self.meta).values(**values))

    def _found(self, db: Connection, store: str) -> int | None:
        """Which schema the tables have; `None` if there are none."""
        meta = self.meta
        if not inspect(db).has_table(meta.name, schema=meta.schema):
            return None
        found = db.execute(select(meta.c.schema, meta.c.least_reader)).one_or_none()
        if found is not None and found.least_reader > self.number:
            raise SchemaError(store, found.least_reader, self.number)
        return None if found is None else int(found.schema)


def meta_table(name: str, metadata: MetaData) -> Table:
    """The table that says which schema the others are of."""
    return Table(
        name,
        metadata,
        Column("one", SmallInteger, primary_key=True, autoincrement=False),
        Column("schema", Integer, nullable=False),
        Column("least_reader", Integer, nullable=False),
    )


def add_columns(db: Connection, table: Table, *names: str) -> None:
    """Have a table that an older release has made get columns."""
    name = db.dialect.identifier_preparer.format_table(table)
    for column in names:
        made = CreateColumn(table.c[column]).compile(dialect=db.dialect)
        db.execute(text(f"ALTER TABLE {name} ADD COLUMN {made}"))
