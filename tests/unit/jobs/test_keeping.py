"""For how long history is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from locum.errors import ScheduleError
from locum.jobs.job import Roster
from tests.unit.jobs.book import SECOND, Book, job

if TYPE_CHECKING:
    from locum.jobs.job import Job

DAY = 86_400 * SECOND


async def one_over(book: Book, of: Job, outcome: str = "succeeded", *, days: float) -> None:
    """A run of a job that was over so many days ago."""
    await book.do(lambda db: book.ledger.run_now(db, of.name, nonce=None, params="{}"))
    (run,) = await book.take(of)
    assert await book.finish(run, outcome)
    history = book.ledger._history
    now = await book.do(book.ledger.now)
    ago = update(history).where(history.c.id == run.id).values(finished_at=now - round(days * DAY))
    await book.do(lambda db: db.execute(ago))


async def test_what_is_over_is_kept_as_long_as_its_job_says_and_dead_letters_for_ever(book: Book) -> None:
    short, others = job("short", trigger=None, keep_days=0.5), job("others", trigger=None)
    roster = Roster()
    for one in (short, others):
        roster.declare(one)
    assert roster.kept == {"short": 0.5}
    await book.declare(short, others)
    for of in (short, others):
        await one_over(book, of, days=1)
        await one_over(book, of, days=8)
        await one_over(book, of, "dead", days=100)
    await one_over(book, short, days=0.25)
    many = {f"other-{number}": 3.0 + number % 2 for number in range(40_000)}  # more than a statement has values
    assert not await book.do(lambda db: book.ledger.purge(db, kept=roster.kept | many))
    assert sorted(row.outcome for row in await book.history("short")) == ["dead", "succeeded"]
    assert sorted(row.outcome for row in await book.history("others")) == ["dead", "succeeded"]


def test_a_time_that_cannot_be_is_told_at_the_declaration() -> None:
    with pytest.raises(ScheduleError, match="keep_days=0 must be a number of days above 0"):
        job(keep_days=0)
