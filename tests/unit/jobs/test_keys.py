"""A limit that runs of whatever jobs share by a key."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from locum.databases.postgresql import PostgresDatabase
from locum.errors import ScheduleError
from locum.jobs.database import opened
from locum.jobs.overlap import Overlap
from tests.unit.jobs.book import A, B, Book, job

if TYPE_CHECKING:
    from locum.jobs.job import Job


def keyed(name: str, limit: int = 1) -> Job:
    many = Overlap(policy="allow", most=50)
    return job(name, trigger=None, key="{customer}", key_limit=limit, overlap=many)


async def ask(book: Book, of: Job, customer: str) -> str:
    params = f'{{"customer": "{customer}"}}'
    run: str = await book.do(
        lambda db: book.ledger.run_now(db, of.name, nonce=None, params=params, limit=of.limit_of(params, 0))
    )
    return run


async def test_runs_of_one_key_share_its_limit_whatever_job_they_are_of(book: Book) -> None:
    loads, sums = keyed("load"), keyed("sum")
    await book.declare(loads, sums)
    first, second, other = [await ask(book, of, who) for of, who in ((loads, "x"), (sums, "x"), (sums, "y"))]
    begun = await book.take(loads, sums)
    assert {run.id for run in begun} == {first, other}
    assert await book.take(loads, sums, session=B) == []
    assert await book.finish(next(run for run in begun if run.id == first))
    assert [run.id for run in await book.take(loads, sums, session=B)] == [second]


async def test_a_key_has_as_many_places_as_are_said(book: Book) -> None:
    of = keyed("load", limit=2)
    await book.declare(of)
    asked = [await ask(book, of, "x") for _ in range(3)]
    assert {run.id for run in await book.take(of)} == set(asked[:2])


async def test_what_has_lost_its_executor_keeps_its_key_and_what_failed_does_not(book: Book) -> None:
    of = keyed("load")
    await book.declare(of)
    first, second = [await ask(book, of, "x") for _ in range(2)]
    (run,) = await book.take(of)
    assert run.id == first
    await book.do(lambda db: book.ledger.recover(db, A))
    (again,) = await book.take(of, session=B)
    assert again.id == first, "its old body may still act, and another of its key has begun"
    assert await book.finish(again, "again", session=B, pause=60.0)
    assert [one.id for one in await book.take(of, session=B)] == [second]


async def test_of_many_who_look_at_once_none_gives_a_key_away_twice(url: str) -> None:
    jobs = [keyed(f"load-{number}") for number in range(4)]
    async with AsyncExitStack() as stack:
        books = [Book(await stack.enter_async_context(opened(url, namespace="billing", timeout=30))) for _ in range(4)]
        await books[0].declare(*jobs)
        for of in jobs:
            for _ in range(3):
                await ask(books[0], of, "x")
        going, most, done = 0, 0, 0

        async def work(book: Book, session: str) -> None:
            nonlocal going, most, done
            while done < 12:
                for run in await book.take(*jobs, session=session):
                    going += 1
                    most = max(most, going)
                    await asyncio.sleep(0)
                    going -= 1
                    assert await book.finish(run, session=session)
                    done += 1

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(book, str(number) * 32) for number, book in enumerate(books)))
    assert (most, done) == (1, 12)


async def test_j08_a_key_that_somebody_counts_at_this_moment_is_given_by_nobody_else(book: Book, url: str) -> None:
    """On a server: who would count it now does not see what the other one has given away, and not committed yet.

    Each of the two knows only one of the jobs that share the key, so that no row of a job stands between them.
    """
    loads, sums = keyed("load"), keyed("sum")
    async with opened(url, namespace="billing", timeout=30) as database:
        other = Book(database)
        await book.declare(loads, sums)
        second = await ask(book, sums, "x")
        assert await book.take(loads) == []  # from now on it leaves the other job alone
        await ask(book, loads, "x")
        (before,) = await book.take(loads)  # the key has a row from now on
        assert await book.finish(before)
        first = await ask(book, loads, "x")
        if not isinstance(book.database, PostgresDatabase):  # on a file one is after the other
            begun = [*await book.take(loads), *await other.take(sums, session=B)]
        else:
            assert book.database._engine is not None
            async with book.database._engine.connect() as slow:
                taken = await slow.run_sync(
                    lambda db: book.ledger.take(db, {"load": loads}, session=A, instance="a", room=1)
                )
                looked = await other.look(sums, session=B)
                assert looked.runs == (), "a key with one place was given away twice"
                assert looked.next_at == looked.now, "it would look again only after a while"
                await slow.commit()
            begun = [run for run, _ in taken.runs] + await other.take(sums, session=B)
        assert [run.id for run in begun] == [first]
        assert await book.finish(begun[0])
        assert [run.id for run in await other.take(sums, session=B)] == [second]


async def test_what_waits_for_a_key_keeps_nobody_else_waiting(book: Book) -> None:
    """More jobs than one look takes wait for a key that is used; one that waits for nothing comes through."""
    held = keyed("held")
    waiting = [keyed(f"waits-{number:03}") for number in range(210)]
    free = job("free", trigger=None)
    await book.declare(held, *waiting, free)
    await ask(book, held, "x")
    await book.take(held, *waiting, free)
    for of in waiting:
        await ask(book, of, "x")
    await book.do(lambda db: book.ledger.run_now(db, "free", nonce=None, params="{}"))
    assert [run.job for run in await book.take(held, *waiting, free, session=B)] == ["free"]
    looked = await book.look(held, *waiting, free, session=B)
    assert (looked.runs, looked.has_moved, looked.is_full) == ((), False, False), "it would look again at once"


async def test_a_scheduled_run_has_the_key_of_its_time(book: Book) -> None:
    of = job(key="day-{fire_at:%j}")
    await book.declare(of)
    await book.take(of)
    await book.plan(1)
    looked = await book.look(of)
    assert looked.next_at == looked.now, "it would not look again at once, and its run waits for that"
    (run,) = await book.take(of)
    assert str(run.limit_key).startswith("day-")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"key": "{nobody}"}, "key='{nobody}' cannot be"),
        ({"key": "x" * 201}, "1 to 200 characters"),
        ({"key": "x", "key_limit": 0}, "key_limit=0"),
    ],
)
def test_a_key_that_cannot_be_is_told_at_the_declaration(options: Any, told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        job(**options)
