"""Statements about many rows say the same of each, and what is not read is counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from locum.databases.postgresql import PostgresDatabase
from locum.jobs.overlap import Overlap
from tests.unit.jobs.book import SECOND, A, B, Book, job

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from locum.jobs.many import Many, Sentence
    from locum.jobs.steps import Unfinished


async def test_of_many_rows_each_is_as_it_was_told(book: Book) -> None:
    """Also what has nothing in some column, and what says more than a column of a name may have."""
    ledger, told = book.ledger, book.ledger._tables.progress
    said = {(f"{number:032}", number): f"{number}\N{SNOWMAN}'\"\\" for number in range(500)}

    def read(db: Connection) -> dict[Any, Any]:
        return {(row.run, row.token): row.said for row in db.execute(select(told))}

    await book.do(lambda db: ledger.tell(db, said, over=[]))
    assert await book.do(read) == said
    await book.do(lambda db: ledger.tell(db, {}, over=list(said)[:499]))
    assert list((await book.do(read)).values()) == [said[f"{499:032}", 499]]


async def test_what_is_too_long_for_its_column_is_refused_and_not_cut(book: Book) -> None:
    """An array whose elements have a length would cut them, and say nothing of it."""
    ledger = book.ledger
    long = "x" * 300
    await book.do(lambda db: ledger.tell(db, {("a", 1): long}, over=[]))
    told = ledger._tables.progress
    assert await book.do(lambda db: db.execute(select(told.c.said)).scalar()) == long
    try:
        await book.do(lambda db: ledger.tell(db, {(long, 1): "said"}, over=[]))
    except Exception as error:
        assert "too long" in str(error)  # noqa: PT017 - PostgreSQL's word; SQLite's columns have no length
    else:
        assert await book.do(lambda db: db.execute(select(told.c.run).where(told.c.said == "said")).scalar()) == long


async def test_of_what_waits_no_more_is_read_than_could_begin(book: Book) -> None:
    of = job("many", trigger=None, overlap=Overlap(policy="allow", most=1000))
    await book.declare(of)
    times: list[tuple[Any, ...]] = [(number * SECOND, "{}") for number in range(300)]
    await book.do(lambda db: book.ledger.backfill(db, "many", times))

    def read(db: Connection) -> dict[str, Unfinished]:
        now = book.ledger.now(db)
        return book.ledger._live_of(db, {"many": of}, ["many"], now, 7)

    found = (await book.do(read))["many"]
    assert [run.fire_at for run in found.runs] == [number * SECOND for number in range(7)]
    assert (found.able, found.scheduled) == (300, 0)
    begun = [run.fire_at // SECOND for _ in range(4) for run in await book.take(of, room=80)]
    assert begun == list(range(300))


async def test_what_was_not_read_waits_all_the_same(book: Book) -> None:
    """How many may wait is counted over all that do, and which are replaced are all that do."""
    of = job(overlap=Overlap(policy="buffer_all", most=3))
    await book.declare(of)
    await book.take(of)
    for ago in (9, 8, 7, 6, 5):
        await book.plan(ago)
        await book.take(of, room=0)
    assert len(await book.live()) == 3
    assert {row.error for row in await book.history()} == {"left out, by overlap=buffer_all: another run is not over"}
    replacing = job(overlap=Overlap(policy="cancel_running"))
    await book.plan(1)
    await book.take(replacing, room=0)
    (left,) = await book.live()
    assert sum(row.error.startswith("replaced by") for row in await book.history()) == 3
    assert left.state == "ready"


async def test_runs_whose_key_is_used_up_stand_before_nobody(book: Book) -> None:
    """More of them than are read at once, whose key was not known where they were asked for."""
    of = job("load", trigger=None, key="{customer}", overlap=Overlap(policy="allow", most=50))
    await book.declare(of)

    async def ask(customer: str, **limit: Any) -> None:
        params = f'{{"customer": "{customer}"}}'
        await book.do(lambda db: book.ledger.run_now(db, "load", nonce=None, params=params, limit=limit or None))

    await ask("x")
    (first,) = await book.take(of)
    for _ in range(12):
        await ask("x")
    await ask("y")
    begun: list[str | None] = []
    looks = 0
    while not begun:
        looked = await book.look(of, session=B, room=5)
        begun = [run.limit_key for run, _ in looked.runs]
        looks += 1
        assert looked.is_full or begun, "it would look again only after a while"
    assert begun == ["y"]
    assert looks <= 4
    assert first.limit_key == "x"


async def test_who_has_no_room_leaves_to_others_what_is_due_for_a_while(book: Book) -> None:
    of = job()
    await book.declare(of)
    await book.take(of)
    await book.plan(1)

    async def look(room: int, patience: float) -> int:
        known = {"sum": of}
        await book.do(lambda db: book.ledger.take(db, known, session=A, instance="a", room=room, patience=patience))
        return len(await book.live())

    assert await look(0, 30.0) == 0
    assert await book.do(lambda db: book.ledger.peek(db, session=A, room=0, patience=30.0)) is not None
    assert await book.do(lambda db: book.ledger.peek(db, session=A, room=1, patience=30.0)) is None
    assert await book.do(lambda db: book.ledger.peek(db, session=A, room=0, patience=0.5)) is None
    assert await look(0, 0.5) == 1
    assert len(await book.take(of)) == 1


async def test_no_statement_about_many_rows_reads_a_whole_table(book: Book) -> None:
    """On a server, whose plans are made while a table is small, and kept when it is not."""
    if not isinstance(book.database, PostgresDatabase):
        return
    ledger = book.ledger
    of = job("many", trigger=None, overlap=Overlap(policy="allow", most=1000))
    await book.declare(of)
    times: list[tuple[Any, ...]] = [(number, "{}") for number in range(1, 50)]
    await book.do(lambda db: ledger.backfill(db, "many", times))
    for run in await book.take(of, room=5):
        assert await book.finish(run)
        assert await book.finish(run), "it was written before"
    (run,) = await book.take(of, room=1)
    assert await book.finish(run, "again")

    spoken = (ledger._move_over, ledger._write_claims, ledger._let_wait)
    told = "\n".join(await book.do(lambda db: plans(db, *spoken)))
    assert told.count("Index Scan using job_runs_pkey") == 3, told
    assert "Seq Scan" not in told


async def test_of_jobs_that_are_declared_none_is_compared_with_all_others(book: Book) -> None:
    """A hundred thousand come by a thousand, on a server that has not counted them yet."""
    for part in range(3):
        await book.declare(*(job(f"{part}-{number}") for number in range(1000)))
    if not isinstance(book.database, PostgresDatabase):
        return
    told = "\n".join(await book.do(lambda db: plans(db, book.ledger._which_are_known)))
    assert re.search(r"Cond: .*\bname\b", told), told
    assert not re.search(r"Filter: .*\bname\b", told), told
    mine = job("0-0")
    await book.plan(1, "0-0")
    assert len(await book.take(mine)) == 1
    await book.do(book.ledger.survey)
    told = "\n".join(await book.do(lambda db: plans(db, book.ledger._write_plans)))
    assert re.search(r"Index Cond: .*\(name\)::text = ", told), told


def plans(db: Connection, *spoken: Many | Sentence) -> list[str]:
    """How a server would do these, if it knew nothing of the values; each was said by this connection's program."""
    db.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    found: list[str] = []
    for one in spoken:
        assert one._text is not None, "it was not said"
        db.exec_driver_sql(f"PREPARE said AS {one._text._words}")
        nothing = ", ".join(["NULL"] * len(one._text._values))
        found += db.exec_driver_sql(f"EXPLAIN EXECUTE said ({nothing})").scalars().all()
        db.exec_driver_sql("DEALLOCATE said")
    return found
