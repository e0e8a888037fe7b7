"""A store's file that was deleted, exchanged or put back, under those who have it open (R24, R25)."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.errors import OutcomeUnknownError, StoreReplacedError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY, Seen
from locum.stores.sight import LEAP
from locum.stores.sqlite import SqliteStore
from locum.testing.conformance.kit import heard, seen_now
from tests.unit.kit import open_files, opened, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from locum.store import Store

TTL = nanoseconds(60)


def copy_of(path: Path) -> Path:
    """A copy of a store in use, as it is now."""
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def beside(path: Path, *suffixes: str) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in suffixes]


def delete(path: Path, *suffixes: str) -> None:
    for one in beside(path, *suffixes):
        one.unlink()


def put_back(copy: Path, path: Path) -> None:
    copy.replace(path)


def put_back_alone(copy: Path, path: Path) -> None:
    delete(path, "", "-wal", "-shm")
    copy.replace(path)


def put_back_in_place(copy: Path, path: Path) -> None:
    """By another process, as an operator does."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", program, str(copy), str(path)], check=True)


PUT_BACK = [put_back, put_back_alone, put_back_in_place]


async def is_refused(store: Store, why: str) -> None:
    """Every call says so, and again; nothing is acknowledged."""
    for _ in range(2):
        for call in (
            store.write("new", b"", expect=ANY),
            store.read("a"),
            store.open_session(b"", TTL, random_id()),
            store.beat(random_id(), 1),
            store.sessions(),
        ):
            with pytest.raises(StoreReplacedError, match=why):
                await soon(call)


async def works(store: Store) -> None:
    """It takes sessions, and what one connection writes another reads."""
    session = random_id()
    await store.open_session(b"me", TTL, session)
    await store.beat(session, 1)
    written = await store.write(f"bound/{session}", b"", expect=ABSENT, session=session)
    assert await store.read(f"bound/{session}") == written


@asynccontextmanager
async def several(path: Path, count: int) -> AsyncIterator[list[Store]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(path)) for _ in range(count)]


# -- deleted


@pytest.mark.parametrize(
    "suffixes", [("",), ("", "-wal", "-shm"), ("", "-wal", "-shm", "-queue", "-wake")], ids=["it", "parts", "all"]
)
async def test_a_deleted_store_is_noticed_and_made_anew_in_quarantine(tmp_path: Path, suffixes: tuple[str]) -> None:
    path = tmp_path / "store.db"
    async with several(path, 3) as (store, second, third):
        await works(store)
        before = [await seen_now(one) for one in (store, second, third)]
        delete(path, *suffixes)
        await is_refused(store, "is gone")
        await is_refused(second, "is gone")
        assert not path.exists(), "a call has made it again"
        adopted = await store.adopt(max_ttl=TTL)
        assert adopted.incarnation != before[0].incarnation
        assert adopted.revision > max(one.revision for one in before)
        sessions = await store.sessions()
        assert (sessions.quarantined, sessions.max_ttl, sessions.by_id) == (True, TTL, {})
        for one in (second, third):
            await is_refused(one, r"is gone|exchanged")
            assert (await one.adopt(max_ttl=TTL)).incarnation == adopted.incarnation
        for one in (store, second, third):
            await works(one)
        assert len((await third.sessions()).by_id) == 3


async def test_a_write_whose_file_is_deleted_in_the_middle_is_not_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO locum_namespaces VALUES ('mine', 1)")
            delete(path, "")

        assert isinstance(store.inner, SqliteStore)
        with pytest.raises(OutcomeUnknownError, match="is gone"):
            await soon(store.inner._transactions.write("write", work))
        await is_refused(store, "is gone")


async def test_a_store_that_was_away_for_a_moment_is_adopted_as_it_was(tmp_path: Path) -> None:
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    async with opened(path) as store:
        await works(store)
        path.rename(away)
        await is_refused(store, "is gone")
        away.rename(path)
        await is_refused(store, "is gone")
        seen = store.seen
        assert await store.adopt(max_ttl=TTL) == seen
        assert not (await store.sessions()).quarantined
        await works(store)


async def test_a_folder_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    path.parent.mkdir()
    async with opened(path) as store:
        await works(store)
        shutil.rmtree(path.parent)
        with pytest.raises((StoreReplacedError, StoreUnavailableError)):
            await store.write("a", b"", expect=ANY)
        with pytest.raises(StoreUnavailableError, match=r"folder .* is gone: mount it or make it again"):
            await store.adopt(max_ttl=TTL)
        path.parent.mkdir()
        await store.adopt(max_ttl=TTL)
        assert (await store.sessions()).quarantined
        await works(store)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_part_that_was_deleted_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await works(store)
        before = await seen_now(store)
        delete(path, suffix)
        await is_refused(store, f"store.db{suffix}, a part of it, is gone")
        adopted = await store.adopt(max_ttl=TTL)
        assert adopted == before or (await store.sessions()).quarantined, "changes were lost, and nobody is told"
        await works(store)


# -- put back


@pytest.mark.parametrize("how", PUT_BACK)
async def test_an_older_copy_is_noticed_and_begins_a_new_incarnation(
    tmp_path: Path, how: Callable[[Path, Path], None]
) -> None:
    path = tmp_path / "store.db"
    async with several(path, 2) as (store, second):
        await store.write("grant/a", b"old", expect=ABSENT)
        session = random_id()
        await store.open_session(b"me", TTL, session)
        copy = copy_of(path)
        for turn in range(50):
            await store.write("grant/a", b"new %d" % turn, expect=ANY)
            await works(second)
        before = await seen_now(store)
        how(copy, path)
        await is_refused(store, r"exchanged|older than what was seen")
        await is_refused(second, r"exchanged|older than what was seen")
        adopted = await store.adopt(max_ttl=TTL)
        assert adopted.incarnation != before.incarnation
        assert adopted.revision > before.revision
        found = await store.read("grant/a")
        assert found is not None
        assert found.value == b"old", "it is the copy as it was, without what was written after it"
        sessions = await store.sessions([session])
        assert sessions.quarantined
        assert sessions.by_id[session].is_closed
        assert (await second.adopt(max_ttl=TTL)).incarnation == adopted.incarnation
        for one in (store, second):
            await works(one)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_an_older_incarnation_that_is_put_back_is_not_taken_for_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        first = await seen_now(store)
        copy = copy_of(path)
        second = await store.renew(max_ttl=TTL)
        put_back(copy, path)
        await is_refused(store, "exchanged")
        third = await store.adopt(max_ttl=TTL)
        assert first.revision < second.revision < third.revision
        assert len({first.incarnation, second.incarnation, third.incarnation}) == 3
        assert (await store.sessions()).quarantined


async def test_a_strangers_store_on_a_wiped_place_begins_a_new_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        before = await seen_now(store)
        delete(path, "", "-wal", "-shm")
        async with opened(path) as stranger:
            for _ in range(20):
                await works(stranger)
            assert (await seen_now(stranger)).revision > before.revision
            await is_refused(store, "exchanged")
            adopted = await store.adopt(max_ttl=TTL)
            assert (await store.sessions()).quarantined
            await is_refused(stranger, "another identity")
            assert await stranger.adopt(max_ttl=TTL) == adopted


async def test_a_copy_by_vacuum_works_too(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    async with opened(path) as store:
        await works(store)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        seen = await seen_now(store)
        put_back_alone(copy, path)
        await is_refused(store, "exchanged")
        assert await store.adopt(max_ttl=TTL) == seen, "nothing was written meanwhile: it is as it was seen"
        await works(store)


async def test_what_was_moved_away_has_its_last_changes(tmp_path: Path) -> None:
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    async with opened(path) as store:
        await store.write("a", b"last", expect=ABSENT)
        path.rename(away)
        await is_refused(store, "is gone")
        await store.adopt(max_ttl=TTL)
    async with opened(away) as store:
        found = await store.read("a")
        assert found is not None
        assert found.value == b"last"


async def test_a_call_that_opens_its_connection_anew_does_not_take_another_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await works(store)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("ALTER TABLE locum_records RENAME TO aside")
        with pytest.raises(StoreUnavailableError, match="no such table"):  # and its connection is thrown away
            await store.write("a", b"", expect=ANY)
        delete(path, "", "-wal", "-shm")
        await is_refused(store, "is gone")
        assert not path.exists()


# -- opened by one that has seen it


async def opened_after(path: Path, seen: Seen | None) -> SqliteStore:
    store = SqliteStore(path, namespace="billing", clock=Clock())
    store.call_timeout, store.seen = 10.0, seen
    await store.open()
    return store


async def test_a_place_where_a_store_was_seen_and_is_no_more_gets_one_in_quarantine(tmp_path: Path) -> None:
    path, seen = tmp_path / "store.db", Seen(random_id(), 5 * LEAP + 7)
    store = await opened_after(path, seen)
    await is_refused(store, "another identity")
    adopted = await store.adopt(max_ttl=TTL)
    assert (adopted.incarnation != seen.incarnation, adopted.revision > seen.revision) == (True, True)
    sessions = await store.sessions()
    assert (sessions.quarantined, sessions.max_ttl) == (True, TTL)
    await store.close()


async def test_a_store_that_is_as_it_was_seen_is_worked_with(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        seen = await seen_now(store)
    later = await opened_after(path, seen)
    await works(later)
    await later.close()


@pytest.mark.parametrize("seen", [Seen("f" * 32, 0), Seen("", 1_000_000)], ids=["other", "older"])
async def test_a_store_that_is_not_as_it_was_seen_is_told_by_the_first_call(tmp_path: Path, seen: Seen) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        seen = Seen(seen.incarnation or (await seen_now(store)).incarnation, seen.revision)
    later = await opened_after(path, seen)
    await is_refused(later, r"another identity|older")
    assert later.seen == seen, "until it is adopted"
    await later.adopt(max_ttl=TTL)
    await works(later)
    await later.close()


# -- side files and what is left behind


async def test_a_wake_file_that_was_deleted_is_made_and_watched_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with several(path, 2) as (store, other), store.changes(["p/"]) as changes:
        for turn in range(3):
            delete(path, "-wake")
            await other.write("p/a", b"%d" % turn, expect=ANY)
            while not (await heard(store, changes)).keys:
                pass


async def test_readers_are_woken_by_an_adoption_and_by_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with several(path, 2) as (store, other), store.changes(["p/"]) as changes:
        delete(path, "", "-wal", "-shm", "-queue", "-wake")
        await is_refused(store, "is gone")
        await store.adopt(max_ttl=TTL)
        await heard(store, changes)
        await other.adopt(max_ttl=TTL)
        await other.write("p/a", b"", expect=ANY)
        while not (await heard(store, changes)).keys:
            pass


async def test_adoptions_leave_no_file_open(tmp_path: Path) -> None:
    path, before = tmp_path / "store.db", open_files()
    async with opened(path) as store:
        for _ in range(3):
            await works(store)
            delete(path, "", "-wal", "-shm", "-queue", "-wake")
            await is_refused(store, "is gone")
            await store.adopt(max_ttl=TTL)
    assert open_files() == before
