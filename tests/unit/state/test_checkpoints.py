"""Checkpoints and truncation: what an opening reads, and who has fallen behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from locum.errors import LogGapError, NotPrimaryError, StaleTermError
from locum.scopes import happens
from locum.state import checkpointing, idempotency
from locum.state.checkpointing import AHEAD
from locum.state.checkpoints import Item
from locum.state.database import opened
from locum.state.loading import catch_up
from locum.state.record import Change, LogRecord
from tests.unit.state.test_state import _LONG, add, error_of, state, two

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from locum.state.database import StateDatabase
    from locum.state.state import State


async def records(database: StateDatabase) -> int:
    def count(db: Connection) -> int:
        return int(db.execute(select(func.count()).select_from(database.rows.ledger._log)).scalar_one())

    return await database.rows.ask(count)


async def checkpoint(state: State, position: int) -> None:
    """Wait until a checkpoint has that position in it."""
    async with asyncio.timeout(_LONG):
        while (await state._partition.head()).checkpoint < position:  # noqa: ASYNC110 - it is the database that tells
            await asyncio.sleep(0.01)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints that come soon, and keep little."""
    monkeypatch.setattr(checkpointing, "_DUE", 5)
    monkeypatch.setattr(checkpointing, "_KEPT", 2)
    monkeypatch.setattr(checkpointing, "_SLICE", 3)
    monkeypatch.setattr(checkpointing, "_REMEMBERED", 16)


@pytest.mark.usefixtures("often")
async def test_the_log_is_truncated_and_nothing_is_lost(url: str) -> None:
    async with opened(url, namespace="billing", timeout=30) as database:
        async with state(database) as one:
            await one.promote(1)
            for number in range(25):
                await add(one, f"key {number % 10}")
            async with one.transaction() as tx:
                await one.dictionary("counts").delete(tx, "key 9")
            await checkpoint(one, 20)
            held = dict(one.dictionary("counts").items())
            assert await records(database) < 10
        async with state(database) as next_one:
            assert dict(next_one.dictionary("counts").items()) == held
            assert next_one.opened is not None
            assert next_one.opened.records <= 6
            await next_one.promote(2)
            assert await add(next_one, "key 9") == 1
            for number in range(10):
                await add(next_one, f"new {number}")
            await checkpoint(next_one, 30)
        async with state(database) as three:
            assert three.dictionary("counts").read("key 9") == 1
            assert len(three.dictionary("counts")) == 20


@pytest.mark.usefixtures("often")
async def test_a_replica_that_has_fallen_behind_takes_what_was_changed_or_loads_all(url: str) -> None:
    async with two(url) as (one, late):
        anew: list[object] = []
        late.dictionary("counts").subscribe(lambda change: anew.append(change) if change is None else None)
        await one.promote(1)
        for number in range(10):
            await add(one, f"key {number}")
        async with asyncio.timeout(_LONG):
            await late.caught_up(10)
        late._database.leave(late._replica)
        for number in range(12):
            await add(one, f"key {number}")
        await checkpoint(one, 18)
        late._database.follow(late._replica)
        async with asyncio.timeout(_LONG):
            await late.caught_up(22)
        assert dict(late.dictionary("counts").items()) == dict(one.dictionary("counts").items())
        assert not anew

        late._database.leave(late._replica)
        async with one.transaction() as tx:
            await one.dictionary("counts").delete(tx, "key 3")
        for number in range(20):
            await add(one, f"key {number + 5}")
        await checkpoint(one, 39)
        with pytest.raises(LogGapError):
            await catch_up(late._partition, late.position)
        late._database.follow(late._replica)
        async with asyncio.timeout(_LONG):
            await late.caught_up(one.position)
        assert dict(late.dictionary("counts").items()) == dict(one.dictionary("counts").items())
        assert anew == [None]
        await late.promote(2)  # and has the records that no checkpoint has yet
        await add(late, "key 3")
        await checkpoint(late, late.position - 4)
    async with opened(url, namespace="billing", timeout=30) as database, state(database) as third:
        assert third.dictionary("counts").read("key 3") == 1


@pytest.mark.usefixtures("often")
async def test_a_repeated_transaction_is_known_after_truncation_and_the_oldest_are_forgotten(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "KEPT", 10)
    async with opened(url, namespace="billing", timeout=30) as database:
        async with state(database) as one:
            await one.promote(1)
            for number in range(30):
                async with one.transaction(key=f"request {number}") as tx:
                    await one.dictionary("counts").set(tx, "a", number + 1)
            await checkpoint(one, 26)
        async with state(database) as next_one:
            await next_one.promote(2)
            async with next_one.transaction(key="request 20") as tx:
                assert tx.is_repeated
            async with next_one.transaction(key="request 19") as tx:
                assert not tx.is_repeated
            async with next_one.transaction(key="request 20") as tx:
                assert not tx.is_repeated, "the oldest is forgotten first"
            assert next_one.dictionary("counts").read("a") == 30


async def test_s02_a_stale_primary_writes_no_checkpoint(url: str) -> None:
    async with two(url) as (old, new):
        await old.promote(1)
        await add(old, "a")
        await new.promote(2)
        stale = Item(Change("counts", "a", "17"), 1)
        assert isinstance(await error_of(old._partition.write_items(1, [stale])), StaleTermError)
        assert isinstance(await error_of(old._partition.move(1, to=1, kept=2, horizon=0)), StaleTermError)
        assert await new._partition.page(("", ""), 10) == []
        assert (await new._partition.head()).checkpoint == 0
        assert await records(new._database) == 1


async def test_transactions_wait_when_the_log_is_too_far_ahead(
    database: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "AHEAD", 10)
    async with state(database) as one:
        await one.promote(1)
        for _ in range(10):
            await add(one, "a")
        waits = asyncio.ensure_future(add(one, "a"))
        await asyncio.sleep(0.1)
        assert not waits.done()
        one._checkpointing.moved(5)
        assert await waits == 11
    assert AHEAD == 1000


async def forget_after(database: StateDatabase, position: int, *written: int) -> None:
    """The database is put back to how it was at a position, and what was written to it since is there at once."""
    log = database.rows.ledger._log

    def put_back(db: Connection) -> None:
        db.execute(delete(log).where(log.c.position > position))
        for value in written:
            for number in range(position):
                change = Change("counts", f"key {number}", str(value))
                record = LogRecord(position + 1 + number, 2, (change,))
                values = {"position": record.position, "token": record.token, "body": record.body}
                one = select(log.c.partition).limit(1).scalar_subquery()
                db.execute(insert(log).values(partition=one, **values))

    await database.rows.transact(put_back)


@pytest.mark.parametrize("is_rewritten", [False, True])
async def test_who_is_promoted_holds_what_the_log_has_also_where_that_is_less(url: str, is_rewritten: bool) -> None:
    async with two(url) as (one, other):
        await one.promote(1)
        for number in range(10):
            await add(one, f"key {number}")
        async with asyncio.timeout(_LONG):
            await other.caught_up(10)
        await one.demote()
        await forget_after(one._database, 5)
        anew: list[object] = []
        other.dictionary("counts").subscribe(lambda change: anew.append(change) if change is None else None)
        if is_rewritten:
            async with opened(url, namespace="billing", timeout=30) as there, state(there) as third:
                await third.promote(2)
                for _ in range(5):
                    await add(third, "key 0")
        await other.promote(3)
        assert anew == [None]
        assert other.position == (10 if is_rewritten else 5)
        expected = {f"key {number}": 1 for number in range(5)} | ({"key 0": 6} if is_rewritten else {})
        assert dict(other.dictionary("counts").items()) == expected
        await add(other, "key 9")
    async with opened(url, namespace="billing", timeout=30) as there, state(there) as last:
        assert dict(last.dictionary("counts").items()) == {**expected, "key 9": 1}


@pytest.mark.parametrize("is_rewritten", [False, True])
async def test_a_secondary_sees_by_itself_that_its_database_was_put_back(
    url: str, is_rewritten: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(url) as (one, other):
        await one.promote(1)
        for number in range(10):
            await add(one, f"key {number}")
        async with asyncio.timeout(_LONG):
            await other.caught_up(10)
        anew = asyncio.Event()
        told: list[object] = []

        def hear(change: object) -> None:
            told.append(change)
            if change is None:
                anew.set()

        other.dictionary("counts").subscribe(hear)
        await one.demote()
        await forget_after(one._database, 5, *([7] if is_rewritten else []))
        expected = {f"key {number}": 7 if is_rewritten else 1 for number in range(5)}
        assert await happens(anew.wait(), within=_LONG), "it sees what has become of its log"
        assert dict(other.dictionary("counts").items()) == expected
        assert told[0] is None
        assert "lost data: its database was put back. This replica had 10 records" in caplog.text
        await other.promote(3)
        assert other.promoted is not None
        assert other.promoted.has_lost, "who has noticed it before is told at its promotion"
        await other.demote()
        await other.promote(4)
        assert not other.promoted.has_lost, "once"


async def get(state: State, key: str) -> None:
    async with state.transaction() as tx:
        await state.dictionary("counts").get(tx, key, 0)


@pytest.mark.parametrize("work", [add, get])
async def test_a_primary_whose_database_was_put_back_leaves_no_gap_and_shows_nothing_that_is_lost(
    database: StateDatabase, work: Callable[[State, str], Awaitable[Any]]
) -> None:
    """Its fence may have been put back to its own token."""
    refused: list[Exception] = []
    async with state(database, on_refused=refused.append) as one:
        await one.promote(1)
        for number in range(10):
            await add(one, f"key {number}")
        await forget_after(database, 5)
        error = await error_of(work(one, "key 9"))
        assert isinstance(error, NotPrimaryError)
        assert "put back" in error.why
        assert len(refused) == 1
        assert not one.is_writable
        await one.demote()
        await one.promote(2)
        assert one.promoted is not None
        assert one.promoted.has_lost
        assert dict(one.dictionary("counts").items()) == {f"key {number}": 1 for number in range(5)}
        assert await add(one, "key 9") == 1
        assert [record.position for record in await one._partition.after(0, 100)] == [1, 2, 3, 4, 5, 6]


async def test_no_checkpoint_is_written_of_what_the_log_has_lost(database: StateDatabase) -> None:
    async with state(database) as one:
        await one.promote(1)
        for _ in range(3):
            await add(one, "a")
        await forget_after(database, 2)
        assert isinstance(
            await error_of(one._partition.write_items(1, [Item(Change("counts", "a", "3"), 3)])), LogGapError
        )
        assert isinstance(await error_of(one._partition.move(1, to=3, kept=2, horizon=0)), LogGapError)
        assert await one._partition.page(("", ""), 10) == []
        assert (await one._partition.head()).checkpoint == 0


async def test_rows_that_are_another_partitions_since_the_database_was_put_back_are_left_alone(url: str) -> None:
    async with two(url) as (one, other):
        await one.promote(1)
        await add(one, "a")
        async with asyncio.timeout(_LONG):
            await other.caught_up(1)
        await one.demote()
        rows = one._database.rows
        ledger = rows.ledger

        def put_back(db: Connection) -> None:
            db.execute(delete(ledger._log))
            db.execute(update(ledger._partitions).values(partition="another", token=7))

        await rows.transact(put_back)
        await other.promote(9)
        assert dict(other.dictionary("counts").items()) == {}
        assert await add(other, "b") == 1

        def heads(db: Connection) -> dict[str, int]:
            row = ledger._partitions.c
            return {str(name): int(token) for name, token in db.execute(select(row.partition, row.token))}

        assert await rows.ask(heads) == {"another": 7, "0": 9}
