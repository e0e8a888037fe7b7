"""Files of other releases: older ones are brought up to date, newer ones are left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.errors import SchemaError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY, Seen
from locum.stores.sqlite.schema import SCHEMA
from tests.unit.kit import opened

if TYPE_CHECKING:
    from pathlib import Path

FIRST = """
CREATE TABLE locum_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    least_reader INTEGER NOT NULL,
    incarnation TEXT NOT NULL,
    revision INTEGER NOT NULL
);
CREATE TABLE locum_namespaces (namespace TEXT PRIMARY KEY, max_ttl INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE locum_sessions (
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
) WITHOUT ROWID;
CREATE TABLE locum_records (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    created INTEGER NOT NULL,
    session TEXT,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE INDEX locum_records_by_session ON locum_records (namespace, session) WHERE session IS NOT NULL;
CREATE TABLE locum_changes (revision INTEGER NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL);
CREATE INDEX locum_changes_by_revision ON locum_changes (revision);

INSERT INTO locum_store VALUES (1, 1, 1, 'abc', 41);
INSERT INTO locum_namespaces VALUES ('billing', 6000000000);
INSERT INTO locum_sessions (namespace, id, owner, ttl, beat) VALUES ('billing', 'me', x'', 6000000000, 5);
INSERT INTO locum_records VALUES ('billing', 'grant/a', x'01', 40, 7, NULL);
"""
"""A file of the first release."""


def make_first(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FIRST)


async def test_a_file_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_first(path)
    for _ in range(2):
        async with opened(path) as store:
            assert store.seen == Seen("abc", 41)
            found = await store.read("grant/a")
            assert found is not None
            assert (found.value, found.revision, found.created) == (b"\x01", 40, 7)
            sessions = await store.sessions()
            assert (sessions.quarantined, sessions.max_ttl) == (False, nanoseconds(6))
            assert sessions.by_id["me"].beat == 5
    async with opened(path) as store:
        await store.write("grant/a", b"\x02", expect=40)
        await store.renew(max_ttl=1)
        assert (await store.sessions()).max_ttl == nanoseconds(6)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT schema, least_reader FROM locum_store").fetchone() == (SCHEMA, SCHEMA)


async def test_files_of_all_releases_have_the_same_tables(tmp_path: Path) -> None:
    shapes = []
    for name in ("first", "new"):
        path = tmp_path / f"{name}.db"
        if name == "first":
            make_first(path)
        async with opened(path):
            pass
        with closing(sqlite3.connect(path)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
            shapes.append({table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in tables})
    assert shapes[0] == shapes[1]


async def test_a_file_of_the_first_release_whose_place_has_seen_a_store_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_first(path)
    async with opened(path) as store:
        store.seen = Seen("abc", 50)
        adopted = await store.adopt(max_ttl=1)
        assert adopted.revision > 50
        sessions = await store.sessions(["me"])
        assert sessions.quarantined
        assert sessions.by_id["me"].is_closed


async def test_a_schema_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.write("a", b"", expect=ABSENT)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE locum_store SET schema = 9, least_reader = 9")
    with pytest.raises(SchemaError) as refusal:
        async with opened(path):
            pass
    assert (refusal.value.found, refusal.value.readable) == (9, SCHEMA)
    assert "upgrade locum" in str(refusal.value)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM locum_records").fetchone() == (1,)


async def test_a_schema_that_becomes_newer_while_we_work_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.write("a", b"old", expect=ABSENT)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE locum_store SET schema = 9, least_reader = 9")
        for call in (store.write("a", b"new", expect=ANY), store.read("a"), store.beat(random_id(), 1)):
            with pytest.raises(StoreUnavailableError, match=r"newer release .* to 9, .* up to 2: upgrade locum here"):
                await call
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE locum_store SET least_reader = 1")
        found = await store.read("a")
        assert found is not None
        assert found.value == b"old"


async def test_a_newer_schema_that_this_release_can_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.write("a", b"", expect=ABSENT)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE locum_store SET schema = 9")
    async with opened(path) as store:
        assert await store.read("a") is not None
