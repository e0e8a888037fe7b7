"""The tables of the embedded store, and how a file comes to have them."""

from __future__ import annotations

import sqlite3
from typing import Final

from locum.errors import SchemaError, UnsupportedError
from locum.names import random_id

__all__ = ["SCHEMA", "prepare"]

SCHEMA: Final = 1
"""The schema that this release writes."""

_LEAST_SQLITE: Final = (3, 35, 0)

_TABLES: Final = (
    """CREATE TABLE locum_store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        schema INTEGER NOT NULL,
        least_reader INTEGER NOT NULL,
        incarnation TEXT NOT NULL,
        revision INTEGER NOT NULL
    )""",
    """CREATE TABLE locum_namespaces (
        namespace TEXT PRIMARY KEY,
        max_ttl INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # closed_boot and closed_at (boot clock, ns) only tell the age of a tombstone on the same boot
    """CREATE TABLE locum_sessions (
        namespace TEXT NOT NULL,
        id TEXT NOT NULL,
        owner BLOB NOT NULL,
        ttl INTEGER NOT NULL,
        beat INTEGER NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0,
        reason BLOB NOT NULL DEFAULT x'',
        closed_boot TEXT,
        closed_at INTEGER,
        PRIMARY KEY (namespace, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE locum_records (
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL,
        created INTEGER NOT NULL,
        session TEXT,
        PRIMARY KEY (namespace, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX locum_records_by_session ON locum_records (namespace, session) WHERE session IS NOT NULL",
    # a ring of what changed lately, so that a wake-up can say what for
    "CREATE TABLE locum_changes (revision INTEGER NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL)",
    "CREATE INDEX locum_changes_by_revision ON locum_changes (revision)",
)


def prepare(connection: sqlite3.Connection, store: str) -> None:
    """Make the tables if the file has none, or check that this release can read them.

    To be called under the writers' lock.

    Raises:
        SchemaError: The file needs a newer reader.
        UnsupportedError: The SQLite library is too old.
    """
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise UnsupportedError(
            f"SQLite {sqlite3.sqlite_version} is too old for the embedded store: it needs"
            f" {'.'.join(map(str, _LEAST_SQLITE))}"
        )
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'locum_store'").fetchone():
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO locum_store VALUES (1, ?, ?, ?, 0)", (SCHEMA, SCHEMA, random_id()))
        (least_reader,) = connection.execute("SELECT least_reader FROM locum_store").fetchone()
        if least_reader > SCHEMA:
            raise SchemaError(store, least_reader, SCHEMA)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
