"""Jobs that no instance declares any more: they are seen, and can be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.errors import ConfigurationError, UnknownJobError
from locum.jobs.finish import Finish
from tests.unit.jobs.book import A, B, Book, job, one_claimed

if TYPE_CHECKING:
    from locum.jobs.job import Job


async def enlist(book: Book, *jobs: Job, session: str = A) -> None:
    names = [one.name for one in jobs]
    await book.do(lambda db: book.ledger.enlist(db, names, session=session, instance=f"web-{session[0]}"))


async def remove(book: Book, name: str = "sum") -> None:
    await book.do(lambda db: book.ledger.remove(db, name))


async def test_a_job_is_declared_by_whoever_says_so_until_its_session_is_over(book: Book) -> None:
    of = job()
    await book.declare(of)
    await enlist(book, of)
    await enlist(book, of, session=B)
    await enlist(book, of, job("other"), session=B)
    assert await book.do(book.ledger.declared_by) == {"sum": ["web-a", "web-b"], "other": ["web-b"]}
    await book.do(lambda db: book.ledger.forget(db, [B]))
    assert await book.do(book.ledger.declared_by) == {"sum": ["web-a"]}
    assert await book.do(book.ledger.enlisted) == [A]


async def test_what_somebody_declares_is_not_removed(book: Book) -> None:
    of = job()
    await book.declare(of)
    await enlist(book, of)
    with pytest.raises(ConfigurationError, match="is declared by web-a: it would come back"):
        await remove(book)
    with pytest.raises(UnknownJobError):
        await remove(book, "nobody")


async def test_what_runs_is_not_removed(book: Book) -> None:
    run = await one_claimed(book, job())
    with pytest.raises(ConfigurationError, match="a run of the job sum goes on"):
        await remove(book)
    assert await book.finish(run)
    await remove(book)


async def test_an_orphan_goes_with_what_waits_of_it_and_its_tokens_never_come_back(book: Book) -> None:
    of = job()
    run = await one_claimed(book, of)
    end = Finish(run.id, run.token, "succeeded", floor=41)
    await book.do(lambda db: book.ledger.finish(db, [end], session=A))
    asked = await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=None, params="{}"))
    await remove(book)
    assert await book.do(book.ledger.jobs) == []
    assert await book.live() == []
    assert {(row.id, row.outcome) for row in await book.history()} == {(run.id, "succeeded"), (asked, "cancelled")}
    await book.declare(of)
    await book.take(of)
    await book.plan(1)
    (again,) = await book.take(of)
    assert again.token > 41, "a token was given a second time"


async def test_what_only_others_know_keeps_nobody_from_its_own(book: Book) -> None:
    """More jobs than one look takes are due, and not declared here, or by another trigger; ours comes through."""
    strangers = [job(f"stranger-{number:03}") for number in range(410)]
    mine = job("mine")
    await book.declare(*strangers, mine)
    await book.take(*strangers, mine)
    for _ in range(2):
        await book.take(*strangers, mine)
    for number, one in enumerate(strangers):
        await book.plan(60 + number, one.name)
    await book.plan(1, "mine")
    begun: list[str] = []
    for _ in range(4):
        begun += [run.job for run in await book.take(mine, room=500)]
    assert begun == ["mine"]
    looked = await book.look(mine)
    assert (looked.has_moved, looked.is_full) == (False, False)
    assert looked.next_at is not None
    assert looked.next_at > looked.now, "it would look again and again for what others fire"
