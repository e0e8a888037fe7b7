"""What the SQLite store adds to the contract: deadlines, locks of others, tombstones, its three files."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.errors import (
    ConfigurationError,
    OutcomeUnknownError,
    SessionClosedError,
    StoreError,
    StoreUnavailableError,
)
from locum.names import random_id
from locum.registry import make_store
from locum.store import ABSENT, ANY, SessionState
from locum.stores.sqlite import SqliteStore
from locum.testing.conformance.kit import heard
from tests.unit.kit import ShiftedClock, open_files, opened, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from locum.store import Store

HOUR = 3600.0
TTL = nanoseconds(60)


@contextmanager
def queue_held(path: Path) -> Iterator[None]:
    """Another holder of the writers' queue; for a lock on an open file, another descriptor is another process."""
    fd = os.open(path.with_name(path.name + "-queue"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def database_held(path: Path) -> Iterator[None]:
    """A writer that is not Locum's and knows nothing of the queue."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


# -- deadlines


async def test_a_call_that_does_not_get_its_turn_never_happens(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        store.call_timeout = 0.1
        with queue_held(path):
            for key in ("a", "b"):
                with pytest.raises(StoreUnavailableError, match="did not get its turn"):
                    await soon(store.write(key, b"", expect=ANY))
            assert await store.read("a") is None, "readers do not queue"
        store.call_timeout = 10.0
        await store.write("c", b"", expect=ABSENT)
        assert [record.key for record in (await store.list("")).records] == ["c"]


async def test_a_call_behind_a_stranger_who_writes_never_happens(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        store.call_timeout = 0.1  # SQLite itself would wait for longer
        with database_held(path):
            for key in ("a", "b"):
                with pytest.raises(StoreUnavailableError):
                    await soon(store.write(key, b"", expect=ANY))
        store.call_timeout = 10.0
        await store.write("c", b"", expect=ABSENT)
        assert [record.key for record in (await store.list("")).records] == ["c"]


async def test_a_call_whose_caller_gave_up_in_the_queue_never_happens(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        with queue_held(path):
            writing = asyncio.ensure_future(store.write("a", b"", expect=ANY))
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
        await store.write("b", b"", expect=ABSENT)
        assert await store.read("a") is None


async def test_a_call_that_hangs_after_it_began_has_an_unknown_outcome(tmp_path: Path) -> None:
    import threading

    async with opened(tmp_path / "store.db") as store:
        go = threading.Event()
        store.call_timeout = 0.1
        assert isinstance(store.inner, SqliteStore)
        with pytest.raises(OutcomeUnknownError):
            await soon(store.inner._transactions.write("write", lambda db: go.wait(20)))
        go.set()
        store.call_timeout = 10.0
        await store.write("a", b"", expect=ABSENT)


async def test_a_close_does_not_wait_for_a_writer_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        with queue_held(path):
            writing = asyncio.ensure_future(store.write("a", b"", expect=ANY))
            await asyncio.sleep(0)
            await soon(store.close())
            writing.cancel()
            await asyncio.wait([writing])
    async with opened(path) as store:
        assert await store.read("a") is None


async def test_opening_behind_a_held_queue_fails_in_time_and_works_later(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path):
        pass
    store = SqliteStore(path, namespace="billing", clock=Clock())
    store.call_timeout = 0.1
    with queue_held(path), pytest.raises(StoreUnavailableError):
        await soon(store.open())
    store.call_timeout = 10.0
    await store.open()
    await store.write("a", b"", expect=ABSENT)
    await store.close()


# -- files


async def test_what_was_written_is_there_after_a_new_start_and_so_is_the_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        written = await store.write("a", b"value", expect=ABSENT)
        incarnation = (await store.sessions()).incarnation
    async with opened(path) as store:
        assert await store.read("a") == written
        assert (await store.sessions()).incarnation == incarnation
        assert (await store.write("a", b"", expect=ANY)).revision > written.revision


async def test_a_database_of_the_user_keeps_its_own_tables(tmp_path: Path) -> None:
    path = tmp_path / "billing.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("INSERT INTO orders VALUES (1)")
    async with opened(path) as store:
        await store.write("a", b"", expect=ABSENT)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(1,)]


async def test_a_folder_that_is_not_there_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make it first"):
        async with opened(tmp_path / "nowhere" / "store.db"):
            pass


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://host/store.db", "sqlite:///store.db?mode=ro", "sqlite:///store.db#x"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        make_store(url, namespace="billing", clock=Clock())


def test_the_path_in_a_url_is_unquoted() -> None:
    store = make_store("sqlite:////var/my%20folder/a%23b.db", namespace="billing", clock=Clock())
    assert isinstance(store, SqliteStore)
    assert str(store.path) == "/var/my folder/a#b.db"


async def test_a_failed_call_says_which_store_and_why(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE locum_records")
        with pytest.raises(StoreError, match=r"store\.db is not available: SQLite says 'no such table"):
            await store.read("a")


async def test_nothing_is_left_open_after_the_close(tmp_path: Path) -> None:
    before = open_files()
    async with opened(tmp_path / "store.db") as store:
        await store.write("a", b"", expect=ABSENT)
        await store.read("a")
    assert open_files() == before


async def test_a_refused_write_leaves_no_trace(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as store:
        before = (await store.list("")).revision
        with pytest.raises(SessionClosedError):
            await store.write("a", b"", expect=ABSENT, session=random_id())
        assert (await store.list("")).revision == before


# -- wake-ups when much has changed


async def test_after_very_many_changes_everyone_is_woken(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store, store.changes(["p/"]) as changes:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE locum_store SET revision = revision + 100000")
        await store.write("q/a", b"", expect=ANY)  # what was changed before it is named no more
        assert (await heard(store, changes)).keys == frozenset()


# -- tombstones


async def closed_session(store: Store) -> str:
    session = random_id()
    await store.open_session(b"", TTL, session)
    await store.close_session(session, reason=b"dead")
    return session


async def is_remembered(store: Store, session: str) -> bool:
    """Whether its tombstone is there still, after somebody opened a session, which is when old ones are forgotten."""
    await store.open_session(b"", TTL, random_id())
    state = (await store.sessions([session])).by_id[session].state
    assert state in (SessionState.CLOSED, SessionState.UNKNOWN)
    return state is SessionState.CLOSED


async def test_a_tombstone_is_forgotten_after_a_day_and_not_before(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with opened(tmp_path / "store.db", clock=clock) as store:
        session = await closed_session(store)
        clock.shift(24 * HOUR - 60)
        assert await is_remembered(store, session)
        clock.shift(120)
        assert not await is_remembered(store, session)


@pytest.mark.parametrize("frame", [b"%s", b'{"holder": {"session": "%s"}}', b"\x00\xff%s\x00", "ä%s€".encode()])
async def test_a_tombstone_that_a_record_names_is_kept_until_it_no_longer_does(tmp_path: Path, frame: bytes) -> None:
    clock = ShiftedClock()
    async with opened(tmp_path / "store.db", clock=clock) as store:
        session = await closed_session(store)
        await store.write("grant/a", frame.replace(b"%s", session.encode()), expect=ABSENT)
        clock.shift(100 * HOUR)
        assert await is_remembered(store, session)
        await store.write("grant/a", b"vacant", expect=ANY)
        assert not await is_remembered(store, session)


async def test_a_tombstone_of_an_earlier_boot_is_as_old_as_this_boot_at_the_least(tmp_path: Path) -> None:
    clock, path = ShiftedClock(), tmp_path / "store.db"
    async with opened(path, clock=clock) as store:
        session = await closed_session(store)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE locum_sessions SET closed_boot = 'earlier', closed_at = 0")
        clock.ahead = nanoseconds(23 * HOUR) - Clock().now()
        assert await is_remembered(store, session)
        clock.ahead += nanoseconds(2 * HOUR)
        assert not await is_remembered(store, session)


async def test_open_sessions_are_never_forgotten(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with opened(tmp_path / "store.db", clock=clock) as store:
        session = random_id()
        await store.open_session(b"", TTL, session)
        clock.shift(1000 * HOUR)
        await store.open_session(b"", TTL, random_id())
        assert (await store.sessions([session])).by_id[session].is_open


async def test_tombstones_of_another_namespace_are_left_alone(tmp_path: Path) -> None:
    clock, path = ShiftedClock(), tmp_path / "store.db"
    async with opened(path, clock=clock) as store, opened(path, clock=clock, namespace="other") as other:
        session = await closed_session(store)
        clock.shift(100 * HOUR)
        await other.open_session(b"", TTL, random_id())
        assert (await store.sessions([session])).by_id[session].is_closed
