"""The statements of the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from locum.state.database import opened
from locum.state.log import Verdict
from locum.state.partition import Partition
from locum.state.record import KEYS, Change, LogRecord, folded
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema, shared

if TYPE_CHECKING:
    from locum.state.database import StateDatabase


async def partition(database: StateDatabase) -> Partition:
    return Partition(database.rows, "counter", "0", await database.number_of("counter", "0"))


def record(position: int, token: int) -> LogRecord:
    return LogRecord(position, token, (Change("counts", "a", "1"),))


async def test_a_record_is_appended_once_under_the_token_of_the_fence(database: StateDatabase) -> None:
    one = await partition(database)
    assert not await one.append(record(1, 3)), "the fence was not raised"
    assert (await one.raise_fence(3)).token == 3
    assert (await one.fate_of(record(1, 3))).verdict is Verdict.OPEN
    assert await one.append(record(1, 3))
    assert not await one.append(record(1, 3))
    assert (await one.fate_of(record(1, 3))).verdict is Verdict.LANDED
    assert (await one.raise_fence(5)).token == 5
    assert (await one.raise_fence(4)).token == 5, "it is never lowered"
    assert not await one.append(record(2, 3))
    fate = await one.fate_of(record(2, 3))
    assert (fate.verdict, fate.highest) == (Verdict.REFUSED, 5)
    assert (await one.fate_of(record(1, 3))).verdict is Verdict.LANDED
    assert await one.append(record(2, 5))
    assert (await one.fate_of(record(2, 3))).verdict is Verdict.REFUSED
    assert await one.after(0, 10) == [record(1, 3), record(2, 5)]
    assert await one.after(1, 10) == [record(2, 5)]
    assert await one.after(0, 1) == [record(1, 3)]


async def test_partitions_have_fences_and_logs_of_their_own(database: StateDatabase) -> None:
    one = await partition(database)
    other = Partition(database.rows, "counter", "1", await database.number_of("counter", "1"))
    assert one.number == (await partition(database)).number != other.number
    await one.raise_fence(7)
    await other.raise_fence(1)
    assert await other.append(record(1, 1))
    assert await one.after(0, 10) == []
    found = await database.rows.ask(lambda db: database.rows.ledger.tail(db, {one.number: 0, other.number: 0}, 10))
    assert [(number, LogRecord.of(*written)) for number, written in found] == [(other.number, record(1, 1))]


async def test_many_that_meet_a_new_partition_at_once_make_one_row(url: str) -> None:
    async with (
        opened(url, namespace="billing", timeout=30) as here,
        opened(url, namespace="billing", timeout=30) as there,
    ):
        numbers = await asyncio.gather(*(one.number_of("counter", "0") for one in (here, there) * 5))
        assert len(set(numbers)) == 1


async def test_s02_an_append_waits_for_who_raises_the_fence() -> None:
    """A file has one writer at a time anyway."""
    demand_server("postgresql", Postgresql.is_installed())
    server = shared()
    schema = Schema(server)
    async with opened(schema.url(), namespace="billing", timeout=30) as database:
        one = await partition(database)
        await one.raise_fence(1)
        with psycopg.connect(server.dsn()) as raising:
            raising.execute(f"UPDATE {schema.name}.state_partitions SET token = 2")
            appending = asyncio.ensure_future(one.append(record(1, 1)))
            await asyncio.wait([appending], timeout=0.3)
            assert not appending.done(), "it went past a fence that is being raised"
            raising.commit()
        assert not await appending
        assert await one.after(0, 10) == []
    schema.drop()


def test_what_records_come_to() -> None:
    a, b, gone = Change("x", "a", "1"), Change("x", "b", "2"), Change("x", "a", None)
    key = Change(KEYS, "request", "null")
    found = folded([LogRecord(1, 1, (b, a)), LogRecord(2, 1, (gone, key)), LogRecord(3, 1, (b,))])
    assert found == [(key, 2), (gone, 2), (b, 3)]
    text = LogRecord(4, 1, (Change("x", 'ключ "', '{"a": "\\u0000"}'), gone))
    assert LogRecord.of(4, 1, text.body) == text
