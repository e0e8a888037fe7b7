"""The tables of the embedded store, and how a file comes to have them."""

from __future__ import annotations

import sqlite3
from typing import Final

from locum.errors import SchemaError, UnsupportedError
from locum.names import random_id
from locum.stores.sight import revision_above

__all__ = ["OPEN", "QUARANTINE", "SCHEMA", "DamagedError", "prepare"]

SCHEMA: Final = 2
"""The schema that this release writes, and the highest that it reads."""

OPEN: Final = "open"
QUARANTINE: Final = "quarantine"

_LEAST_SQLITE: Final = (3, 35, 0)

_TABLES: Final = (
    """CREATE TABLE locum_store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        schema INTEGER NOT NULL,
        least_reader INTEGER NOT NULL,
        incarnation TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'open',
        max_ttl INTEGER NOT NULL DEFAULT 0
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

_STEPS: Final = {
    1: (
        "ALTER TABLE locum_store ADD COLUMN state TEXT NOT NULL DEFAULT 'open'",
        "ALTER TABLE locum_store ADD COLUMN max_ttl INTEGER NOT NULL DEFAULT 0",
        "UPDATE locum_store SET schema = 2, least_reader = 2",
    ),
}
"""From each older schema to the next one."""


class DamagedError(sqlite3.DatabaseError):
    """SQLite read something that was never written: its pages fit together, and their content is not ours."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def prepare(connection: sqlite3.Connection, store: str, *, seen: int | None) -> None:
    """Make the tables if the file has none, bring older ones up to date, or check that this release can read them.

    To be called under the writers' lock.

    Args:
        connection: To the file.
        store: Its URL, for messages.
        seen: The highest revision that this process has seen of the store that was there before, if it has seen one:
            a new store is in quarantine then (R25).

    Raises:
        SchemaError: The file needs a newer reader.
        UnsupportedError: The SQLite library is too old.
        DamagedError: What is there is not readable.
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
            _make(connection, seen)
        for older in range(_schema_of(connection, store), SCHEMA):
            for statement in _STEPS[older]:
                connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _schema_of(connection: sqlite3.Connection, store: str) -> int:
    row = connection.execute("SELECT schema, least_reader FROM locum_store").fetchone()
    match row:
        case (int(schema), int(least_reader)) if schema > 0:
            if least_reader > SCHEMA:
                raise SchemaError(store, least_reader, SCHEMA)
            return schema
    raise DamagedError(f"its schema is said to be {row}")


def _make(connection: sqlite3.Connection, seen: int | None) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    state, revision = (OPEN, 0) if seen is None else (QUARANTINE, revision_above(seen))
    connection.execute(
        "INSERT INTO locum_store (one, schema, least_reader, incarnation, revision, state) VALUES (1, ?, ?, ?, ?, ?)",
        (SCHEMA, SCHEMA, random_id(), revision, state),
    )
