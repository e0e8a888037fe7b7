"""The job database where things do not go as they should: what stands in each other's way, and what nobody can keep."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from locum.databases.postgresql import PostgresDatabase
from locum.errors import StoreError
from locum.jobs.database import opened
from locum.jobs.overlap import Overlap
from locum.jobs.triggers import Every
from locum.stores.sqlite.files import QueueFile
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema
from tests.unit.jobs.book import SECOND, A, B, Book, job, one_claimed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

LONG = 30.0


async def ask(book: Book, *names: str) -> None:
    def work(db: Connection) -> None:
        for name in names:
            book.ledger.run_now(db, name, nonce=None, params="{}")

    await book.do(work)


async def test_jobs_that_wait_for_a_place_keep_nobody_waiting(book: Book) -> None:
    """More of them than one look takes: each has a run that goes, and one that waits for it to end."""
    busy = [job(f"busy-{number:03}", trigger=None) for number in range(210)]
    other = job("other", trigger=None)
    await book.declare(*busy, other)
    for _ in range(2):
        await ask(book, *(one.name for one in busy))
    begun = 0
    while begun < len(busy):
        begun += len(await book.take(*busy, room=1000))
    await ask(book, "other")
    looked = await book.look(*busy, other, session=B, room=5)
    assert [run.job for run, _ in looked.runs] == ["other"]
    looked = await book.look(*busy, other, session=B, room=5)
    assert (looked.runs, looked.has_moved, looked.is_full) == ((), False, False), "it would look again at once"


async def test_who_has_waited_longest_begins_first(book: Book) -> None:
    jobs = [job(f"job-{number}", trigger=Every(3600 * (4 - number))) for number in range(3)]
    await book.declare(*jobs)
    await book.take(*jobs)
    for one in reversed(jobs):
        await ask(book, one.name)
    order = [run.job for _ in jobs for run in await book.take(*jobs, room=1)]
    assert order == ["job-2", "job-1", "job-0"]


async def test_what_another_release_fires_is_no_reason_to_look_at_once(book: Book) -> None:
    await book.declare(changed := job(trigger=Every(1800)))
    looked = await book.look(old := job())
    assert looked.has_moved is False
    assert looked.next_at is not None
    assert looked.next_at > looked.now
    await book.take(changed)
    await book.plan(1)
    assert (await book.look(old)).has_moved, "what has just been found not to be ours may stand before what is"
    looked = await book.look(old)
    assert (looked.has_moved, looked.next_at) == (False, None)


async def test_an_error_is_kept_whatever_it_says(book: Book) -> None:
    """A zero byte, or a name of a file that is no UTF-8: some databases take neither."""
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "again", error="OSError: no file a\0b\udcff")
    (again,) = await book.take(of)
    assert await book.finish(again, "dead", error="x\udcff" * 3000)
    (dead,) = await book.history()
    assert dead.error.startswith("x\\udcffx")
    assert len(dead.error) == 2000


async def test_an_end_that_was_written_before_is_not_told_as_refused(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "given_back")
    assert await book.finish(run, "given_back"), "its answer was lost, and it is sent again"
    (again,) = await book.take(of, session=B)
    assert not await book.finish(run, "succeeded")
    assert await book.finish(again, session=B)


async def test_what_has_not_begun_is_no_attempt(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "given_back", has_begun=False)
    (again,) = await book.take(of, session=B)
    assert (again.attempt, again.token) == (1, run.token + 1)


async def test_a_resumed_job_decides_nothing_again_though_the_clock_was_set_back(book: Book) -> None:
    await book.declare(of := job(trigger=Every(1)))
    await book.take(of)
    ahead = await book.plan(-3600)  # as if it had been decided by a clock that was an hour ahead
    await book.do(lambda db: book.ledger.pause(db, "sum", reason="", author=""))
    await book.do(lambda db: book.ledger.resume(db, "sum"))
    assert (await book.of()).decided_until == ahead - 1
    assert await book.take(of) == []
    assert (await book.of()).next_at >= ahead


async def test_ten_thousand_times_are_backfilled_by_a_few_statements(book: Book) -> None:
    await book.declare(job())
    said = 0

    def count(*_: Any) -> None:
        nonlocal said
        said += 1

    def work(db: Connection) -> int:
        sqlalchemy.event.listen(db, "before_cursor_execute", count)
        return book.ledger.backfill(db, "sum", [(number * SECOND, "{}") for number in range(1, 10_001)])

    assert await book.do(work) == 10_000
    assert said < 30
    assert await book.do(lambda db: book.ledger.backfill(db, "sum", [(SECOND, "{}"), (0, "{}")])) == 1


async def test_a_nonce_may_be_as_long_as_a_name(book: Book) -> None:
    await book.declare(job())
    longest = "n" * 128
    first = await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=longest, params="{}"))
    assert await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=longest, params="{}")) == first


async def test_old_history_goes_in_slices_until_there_is_none(book: Book) -> None:
    await book.declare(of := job(trigger=None, overlap=Overlap(policy="allow", most=10)))
    await ask(book, "sum", "sum")
    first, second = await book.take(of)
    assert await book.finish(first, "dead")
    assert await book.finish(second)
    history = book.ledger._history

    def age(db: Connection) -> None:
        (one,) = db.execute(sqlalchemy.select(history).where(history.c.outcome == "succeeded")).all()
        old = {**one._mapping, "finished_at": 1}
        db.execute(sqlalchemy.insert(history), [{**old, "id": f"{number:032}"} for number in range(1200)])
        db.execute(sqlalchemy.update(history).values(finished_at=1))

    await book.do(age)
    assert await book.do(book.ledger.purge)
    assert not await book.do(book.ledger.purge)
    assert [row.outcome for row in await book.history()] == ["dead"]


# -- in a file, where one transaction is after the other


async def test_j01_whoever_executes_waits_longer_for_its_turn_in_a_file(tmp_path: Path) -> None:
    """Its queue is as long as there are instances that write, and no lease depends on it; who only asks is told."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with (
        opened(url, namespace="billing", timeout=0.3) as asks,
        opened(url, namespace="billing", timeout=0.3, executes=True) as executes,
    ):
        queue = QueueFile(tmp_path / "jobs.db-queue")
        with queue.turn():
            waiting = asyncio.create_task(executes.transact(executes.ledger.now))
            with pytest.raises(StoreError, match="did not get its turn"):
                await asks.transact(asks.ledger.now)
            assert not waiting.done()
        async with asyncio.timeout(LONG):
            assert await waiting
        queue.close()


# -- on a server, where transactions go side by side


@pytest.fixture
def server() -> Iterator[Postgresql]:
    demand_server("postgresql", Postgresql.is_installed())
    with Postgresql() as running:
        yield running


async def test_j04_a_checkpoint_that_waits_for_who_claims_is_refused(server: Postgresql) -> None:
    """It was sent while the run was still its sender's; when it can be written, another executor has begun."""
    async with opened(Schema(server).url(), namespace="billing", timeout=LONG) as database:
        book = Book(database)
        run = await one_claimed(book, of := job())
        assert isinstance(database, PostgresDatabase)
        assert database._engine is not None
        async with database._engine.connect() as claiming:
            await claiming.run_sync(lambda db: book.ledger._lock(db, "sum"))
            old = asyncio.create_task(
                book.do(lambda db: book.ledger.checkpoint(db, run.id, job="sum", token=run.token, session=A, value="1"))
            )
            await somebody_waits(book)
            await claiming.run_sync(lambda db: book.ledger.recover(db, A))
            taken = await claiming.run_sync(
                lambda db: book.ledger.take(db, {"sum": of}, session=B, instance="b", room=1)
            )
            await claiming.commit()
        assert [one.id for one, _ in taken.runs] == [run.id]
        assert not await old, "an executor that was lost has kept a value behind the back of the next one"
        assert (await book.of()).checkpoint is None


async def somebody_waits(book: Book) -> None:
    waiting = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(LONG):
        while not await book.do(lambda db: db.execute(waiting).scalar()):
            pass


async def test_j11_a_server_that_falls_silent_holds_nobody_up(server: Postgresql) -> None:
    """Neither the call nor the farewell of its connection waits for an answer that does not come."""
    async with asyncio.timeout(LONG), opened(Schema(server).url(), namespace="billing", timeout=1.0) as database:
        book = Book(database)
        await book.declare(job())
        server.pause()
        try:
            for _ in range(4):  # more than there are connections
                with pytest.raises(StoreError):
                    await book.do(book.ledger.now)
        finally:
            server.resume()
        await until_answered(book)
        assert (await book.of()).name == "sum"


async def until_answered(book: Book) -> None:
    while True:
        try:
            await book.do(book.ledger.now)
        except StoreError:
            continue
        return
