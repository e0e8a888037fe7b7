"""What the rooms of the state's ledger have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_, select

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Table

    from locum.state.tables import Tables

__all__ = ["Rows"]


class Rows:
    """Statements about partitions.

    Args:
        tables: Where.
        namespace: Whose.
        store: The database's URL, for messages.
    """

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        self._tables, self._namespace, self.store = tables, namespace, store
        self._partitions, self._log, self._items = tables.partitions, tables.log, tables.items

    def _fenced(self, partition: Any, token: Any, *columns: Any) -> Any:
        """Of a partition, if its fence has seen no higher token, and sees none until the end of the transaction."""
        where = (self._partitions.c.id == partition, self._partitions.c.token == token)
        return select(*columns).where(*where).with_for_update(read=True)

    def _has(self, partition: Any, position: Any) -> Any:
        """Whether what was committed up to a position is there: in its checkpoint, or the log that comes after that."""
        log = self._log.c
        is_there = exists().where(log.partition == partition, log.position == position)
        return or_(self._partitions.c.checkpoint >= position, is_there)

    @staticmethod
    def _inserting(dialect: Dialect, table: Table) -> Any:
        """An insert that can say what is to become of a row that is there."""
        if dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
