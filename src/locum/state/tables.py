"""The tables of the state: partitions with their fences, their logs, and what the checkpoints have of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from locum.databases.schema import Schema, meta_table
from locum.state.record import LONGEST_KEY

__all__ = ["SCHEMA", "Tables"]

SCHEMA: Final = 1
"""The schema that this release writes, and the highest that it reads."""
_LEAST_READER: Final = 1
_NAME: Final = 128
# one order everywhere, that of the characters' numbers, which is also that of their bytes
_KEY: Final = String(LONGEST_KEY).with_variant(String(LONGEST_KEY, collation="C"), "postgresql")
_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # a key that the database counts up must be such there


class Tables:
    """The tables, in a schema of their own where the database has such.

    Attributes:
        schema: Which schema they have, and how they come to have it.
        partitions: One row a partition: its fence, up to where its items are complete, up to where it was forgotten
            what is gone.
        log: One row a record.
        items: One row a key, as of a checkpoint; without a value for a while where the key is gone.

    Args:
        schema: Its name; `None` for none.
    """

    def __init__(self, schema: str | None) -> None:
        metadata = MetaData(schema=schema)
        self.partitions = Table(
            "state_partitions",
            metadata,
            Column("id", _NUMBER, primary_key=True),
            Column("namespace", String(_NAME), nullable=False),
            Column("service", String(_NAME), nullable=False),
            Column("partition", String(_NAME), nullable=False),
            Column("token", BigInteger, nullable=False),
            Column("checkpoint", BigInteger, nullable=False),
            Column("horizon", BigInteger, nullable=False),
            UniqueConstraint("namespace", "service", "partition", name="state_partitions_names"),
        )
        self.log = Table(
            "state_log",
            metadata,
            Column("partition", BigInteger, primary_key=True, autoincrement=False),
            Column("position", BigInteger, primary_key=True, autoincrement=False),
            Column("token", BigInteger, nullable=False),
            Column("body", Text, nullable=False),
            sqlite_with_rowid=False,
        )
        self.items = Table(
            "state_items",
            metadata,
            Column("partition", BigInteger, primary_key=True, autoincrement=False),
            Column("dictionary", _KEY, primary_key=True),
            Column("key", _KEY, primary_key=True),
            Column("value", Text),
            Column("position", BigInteger, nullable=False),
            sqlite_with_rowid=False,
        )
        items = self.items.c
        Index("state_items_by_position", items.partition, items.position)
        gone = items.value.is_(None)
        Index("state_items_gone", items.partition, items.position, sqlite_where=gone, postgresql_where=gone)
        self.schema = Schema(meta_table("state_meta", metadata), SCHEMA, _LEAST_READER)
