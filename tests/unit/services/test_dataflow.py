"""Streams in shards: pace, back-pressure, and what a batch that is cut off leaves behind."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.shard import Shard
from locum.coordination.shards import Sharding, Shards
from locum.scopes import Scope, cancel_and_wait, told_by_result
from locum.services import dataflow
from locum.services.dataflow import Batch, DataflowService, Pace, read_position
from tests.unit.kit import instance, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


def test_a_batch_grows_as_long_as_it_is_quick() -> None:
    pace = Pace(0.1, least=1, most=50)
    sizes = []
    for _ in range(8):
        sizes.append(pace.size)
        pace.took(pace.size, 0.002 * pace.size)
    assert sizes == [1, 2, 4, 8, 16, 32, 50, 50]


def test_a_batch_shrinks_at_once_when_it_takes_too_long() -> None:
    pace = Pace(0.1, least=2, most=50)
    pace.size = 50
    pace.took(50, 1.0)
    assert pace.size == 5
    pace.took(5, 5.0)
    assert pace.size == 2
    pace.took(1, 0.0)
    assert pace.size == 4


class Stream(DataflowService):
    """Numbers up to a last one, into a table of a file."""

    least, most, idle = 2, 4, 0.01

    def __init__(self, path: Path | None, last: int = 10) -> None:
        self.path, self.last = path, last
        self.fetched: list[tuple[Any, int]] = []
        self.done: list[int] = []
        self.fails: list[Exception] = []
        self.idles = asyncio.Event()
        self.working = self.most_at_once = 0

    def database(self) -> Any:
        return None if self.path is None else sqlite3.connect(self.path, isolation_level=None)

    async def fetch(self, shard: Shard, position: Any, limit: int) -> Batch:
        self.fetched.append((position, limit))
        begin = position or 0
        end = min(self.last, begin + limit)
        if begin == end:
            self.idles.set()
        return Batch(range(begin + 1, end + 1), end, lag=float(self.last - begin))

    async def process(self, shard: Shard, items: Sequence[Any], connection: Any) -> None:
        self.working += 1
        self.most_at_once = max(self.most_at_once, self.working)
        try:
            for item in items:
                if connection is not None:
                    connection.execute("INSERT INTO done VALUES (?, ?)", (item, shard.token))
                self.done.append(item)
            await asyncio.sleep(0.001)
            if self.fails:
                raise self.fails.pop()
        finally:
            self.working -= 1


@pytest.fixture
def books(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "books.db") as connection:
        connection.execute("CREATE TABLE done (number INTEGER, token INTEGER)")
    return tmp_path / "books.db"


@asynccontextmanager
async def shard_of(folder: Path, index: int = 0, name: str = "web-1") -> AsyncIterator[Shard]:
    async with (
        instance(folder / "store.db", name) as one,
        Shards(one.commons, "stream", Sharding(of=4)).contest(index).hold() as shard,
    ):
        yield shard


async def run(stream: Stream, shard: Shard) -> None:
    """Until there is nothing left to fetch."""
    async with Scope("stream", on_error=told_by_result) as scope:
        running = scope.spawn(stream.run_shard(shard), name="shard")
        idle = scope.spawn(stream.idles.wait(), name="idle")
        await soon(asyncio.wait([running, idle], return_when=asyncio.FIRST_COMPLETED))
        if running.done():
            running.result()
        await cancel_and_wait(running)


def rows(books: Path) -> list[int]:
    with sqlite3.connect(books) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM done ORDER BY rowid")]


async def test_all_is_done_once_and_in_order(tmp_path: Path, books: Path) -> None:
    async with shard_of(tmp_path) as shard:
        stream = Stream(books)
        await run(stream, shard)
        assert shard.lag == 0.0
    assert rows(books) == list(range(1, 11))
    assert [position for position, _ in stream.fetched][:2] == [None, 2]


async def test_the_next_owner_goes_on_where_the_last_one_was(tmp_path: Path, books: Path) -> None:
    async with shard_of(tmp_path) as shard:
        await run(Stream(books, last=5), shard)
    async with shard_of(tmp_path, name="web-2") as shard:
        assert shard.token == 2
        stream = Stream(books)
        await run(stream, shard)
    assert stream.fetched[0][0] == 5
    assert rows(books) == list(range(1, 11))


async def test_h06_a_batch_whose_database_failed_is_undone_and_done_once(tmp_path: Path, books: Path) -> None:
    async with shard_of(tmp_path) as shard:
        stream = Stream(books)
        stream.fails = [sqlite3.OperationalError("it fails over"), ConnectionResetError()]
        await run(stream, shard)
    assert rows(books) == list(range(1, 11))
    assert stream.done[:4] == [1, 2, 1, 2], "it was not begun again"


async def test_the_position_is_read_once_and_again_only_when_an_answer_may_be_lost(
    tmp_path: Path, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = []

    async def counted(shard: Shard, target: Any) -> Any:
        reads.append(await read_position(shard, target))
        return reads[-1]

    monkeypatch.setattr(dataflow, "read_position", counted)
    async with shard_of(tmp_path) as shard:
        await run(Stream(books, last=8), shard)
        assert reads == [None]
    async with shard_of(tmp_path, name="web-2") as shard:
        stream = Stream(books, last=20)
        stream.fails = [sqlite3.OperationalError("it fails over")]
        await run(stream, shard)
    assert reads == [None, 8, 8]
    assert rows(books) == list(range(1, 21))


async def test_h06_a_commit_whose_answer_was_lost_is_found_done(tmp_path: Path, books: Path) -> None:
    class Deaf(Stream):
        """The first answer of a commit does not come."""

        def database(self) -> Any:
            return _Deaf(str(self.path), isolation_level=None)

    async with shard_of(tmp_path) as shard:
        stream = Deaf(books)
        await run(stream, shard)
    assert rows(books) == list(range(1, 11))
    assert stream.done == list(range(1, 11)), "what was done already was done again"


class _Deaf(sqlite3.Connection):
    lost = 0

    def commit(self) -> None:
        super().commit()
        if not self.lost and self.execute("SELECT COUNT(*) FROM done").fetchone() != (0,):
            self.lost += 1
            raise ConnectionResetError("the answer is lost")


async def test_a_position_comes_back_as_another_owner_would_read_it(tmp_path: Path, books: Path) -> None:
    class Paired(Stream):
        async def fetch(self, shard: Shard, position: Any, limit: int) -> Batch:
            batch = await super().fetch(shard, position[0] if position else None, limit)
            self.fetched[-1] = (position, limit)
            return Batch(batch.items, (batch.position, shard.index))

    async with shard_of(tmp_path) as shard:
        stream = Paired(books, last=4)
        await run(stream, shard)
    assert [position for position, _ in stream.fetched][:2] == [None, [2, 0]]


async def test_a_batch_that_is_wrong_is_undone_and_its_shard_fails(tmp_path: Path, books: Path) -> None:
    async with shard_of(tmp_path) as shard:
        stream = Stream(books)
        stream.fails = [ValueError("no such customer")]
        with pytest.raises(ValueError, match="no such customer"):
            await run(stream, shard)
    assert rows(books) == []


async def test_a_batch_that_was_done_is_progress_and_one_that_failed_is_none(tmp_path: Path, books: Path) -> None:
    for last, progress in ((2, True), (4, False)):
        async with shard_of(tmp_path) as shard:
            stream = Stream(books, last=last)
            stream.fails = [] if progress else [ValueError("no such customer")]
            try:
                await run(stream, shard)
            except ValueError:
                pass
            assert shard.has_progressed is progress
    assert rows(books) == [1, 2]


async def test_without_a_database_the_store_keeps_the_position(tmp_path: Path) -> None:
    async with shard_of(tmp_path) as shard:
        await run(Stream(None), shard)
        assert shard.position == 10
    async with shard_of(tmp_path) as shard:
        stream = Stream(None)
        await run(stream, shard)
        assert stream.done == []


async def test_an_instance_works_on_so_many_batches_and_no_more(tmp_path: Path) -> None:
    class Narrow(Stream):
        at_once = 1

    stream = Narrow(None, last=30)
    async with (
        instance(tmp_path / "store.db", "web-1") as one,
        Shards(one.commons, "stream", Sharding(of=4)).contest(0).hold() as first,
        Shards(one.commons, "stream", Sharding(of=4)).contest(1).hold() as second,
        Scope("stream") as scope,
    ):
        running = [scope.spawn(stream.run_shard(shard), name="shard") for shard in (first, second)]
        await soon(stream.idles.wait())
        for task in running:
            await cancel_and_wait(task)
    assert stream.most_at_once == 1
