"""How far runs are, as it is counted, and as the job database keeps it."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import select

from locum.errors import ConfigurationError
from locum.jobs.jobs import read_live
from locum.jobs.progress import Pace, Progress
from tests.unit.jobs.book import Book, job, one_claimed

SECOND = 1_000_000_000


def test_the_rate_is_counted_from_what_was_said_first() -> None:
    """What an earlier attempt had done took no time in this one."""
    pace = Pace()
    pace.reach(50, 100, "", at=0)
    assert pace.progress == Progress(50, 100, 0.0, None)
    pace.reach(60, 100, "x" * 300, at=5 * SECOND)
    assert pace.progress == Progress(60, 100, 2.0, 20.0, "x" * 200)
    pace.reach(10, 100, "again", at=6 * SECOND)
    assert pace.progress == Progress(10, 100, 0.0, None, "again")
    pace.reach(11, None, "", at=7 * SECOND)
    assert pace.progress == Progress(11, None, 1.0, None)
    assert Progress.read(pace.progress.text) == pace.progress
    assert Progress.read(None) is None


@pytest.mark.parametrize(("done", "of"), [(-1, None), (2, 1), (math.nan, 1), (math.inf, None), (1, math.nan), ("1", 2)])
def test_what_is_no_part_of_anything_is_refused(done: float, of: float | None) -> None:
    with pytest.raises(ConfigurationError, match="say how much is done"):
        Pace().reach(done, of, "", at=0)


async def test_only_the_executor_of_the_moment_is_heard(book: Book) -> None:
    run = await one_claimed(book, job())
    database = book.database
    old = (run.id, run.token - 1)
    said = {old: Progress(9, 10, 1.0, 1.0).text, (run.id, run.token): Progress(2, 10, 1.0, 8.0).text}
    for _ in range(2):  # a lost answer: it is told again
        await database.transact(lambda db: database.ledger.tell(db, said, over=[]))
    (live,) = await read_live(database)
    assert live.progress == Progress(2, 10, 1.0, 8.0)
    await database.transact(lambda db: database.ledger.purge(db))
    table = database.ledger._tables.progress
    rows = await database.transact(lambda db: list(db.execute(select(table.c.token)).scalars()))
    assert rows == [run.token]
