"""The tables of the store."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, String, Table
from sqlalchemy.dialects.mysql import VARCHAR

from locum.stores.sql.words import LONGEST_KEY

__all__ = ["Tables"]


def _name(length: int) -> String:
    """Compared byte by byte, whatever the database's own order of letters is."""
    plain = String(length)
    in_bytes = plain.with_variant(String(length, collation="C"), "postgresql")
    return in_bytes.with_variant(VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql")


class Tables:
    """The tables, in a schema of their own.

    Attributes:
        store: One row: the identity, the revision, and whether grants may be given.
        namespaces: The longest TTL that was granted in each, and which generation of tombstones is being dug.
        days: Who has watched that generation on which clock since when (seconds).
        sessions: Open ones and tombstones. One of another incarnation than the store's is closed, whatever it says.
        records: Keys and values. One that is bound to a closed session is gone, even if its row is still there.

    Args:
        schema: Its name.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.metadata = metadata = MetaData(schema=schema)
        self.store = Table(
            "store",
            metadata,
            Column("one", SmallInteger, primary_key=True, autoincrement=False),
            Column("schema", Integer, nullable=False),
            Column("least_reader", Integer, nullable=False),
            Column("incarnation", _name(32), nullable=False),
            Column("revision", BigInteger, nullable=False),
            Column("state", _name(16), nullable=False),
            Column("max_ttl", BigInteger, nullable=False),
        )
        self.namespaces = Table(
            "namespaces",
            metadata,
            Column("namespace", _name(128), primary_key=True),
            Column("max_ttl", BigInteger, nullable=False),
            Column("generation", BigInteger, nullable=False),
        )
        self.days = Table(
            "days",
            metadata,
            Column("namespace", _name(128), primary_key=True),
            Column("clock", _name(200), primary_key=True),
            Column("since", BigInteger, nullable=False),
        )
        self.sessions = Table(
            "sessions",
            metadata,
            Column("namespace", _name(128), primary_key=True),
            Column("id", _name(32), primary_key=True),
            Column("incarnation", _name(32), nullable=False),
            Column("owner", LargeBinary, nullable=False),
            Column("ttl", BigInteger, nullable=False),
            Column("beat", BigInteger, nullable=False),
            Column("closed", SmallInteger, nullable=False),
            Column("reason", LargeBinary, nullable=False),
            Column("generation", BigInteger, nullable=False),
        )
        self.records = Table(
            "records",
            metadata,
            Column("namespace", _name(128), primary_key=True),
            Column("key", _name(LONGEST_KEY), primary_key=True),
            Column("value", LargeBinary, nullable=False),
            Column("revision", BigInteger, nullable=False),
            Column("created", BigInteger, nullable=False),
            Column("session", _name(32)),
        )
        Index("records_by_session", self.records.c.namespace, self.records.c.session)
