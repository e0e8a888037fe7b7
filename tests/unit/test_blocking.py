"""What a plain body is given: the same as an async one, in its own thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from locum import blocking, context
from locum.clock import Clock
from locum.coordination import term
from locum.coordination.fence import fence_of
from locum.errors import StaleTermError, TermEndedError, UnsupportedError
from locum.testing.instances import Instance
from locum.threads import OwnThread
from tests.unit.kit import ManualClock, instance, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

T = TypeVar("T")


@pytest.fixture
def thread() -> Iterator[OwnThread]:
    thread = OwnThread("body")
    yield thread
    thread.close()


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-1") as one:
        yield one


@pytest.fixture
async def handle(one: Instance) -> term.Term:
    return await term_of(one, 7)


async def term_of(one: Instance, token: int) -> term.Term:
    return term.Term(
        "settlement",
        scope="election/settlement",
        fence_name="billing/election/settlement",
        token=token,
        instance="web-1",
        lease=await one.leases.lease(),
        clock=one.leases.clock,
        revision=1,
    )


async def begun(thread: OwnThread, call: Callable[[], T]) -> asyncio.Future[T]:
    """A call that has certainly begun in the thread."""
    there = threading.Event()

    def both() -> T:
        there.set()
        return call()

    calling = asyncio.ensure_future(thread.call(both))
    await until(there.is_set, "the thread")
    await turns()
    return calling


# -- contexts


async def test_every_name_of_the_async_one_is_there(handle: term.Term) -> None:
    facade = blocking.Term(handle)
    for name in ("check", "sleep", "every", "ready", "transaction", "fence", "remaining"):
        assert hasattr(facade, name), name
    same = ["token", "name", "instance", "scope", "since", "is_current", "ended", "stopping", "deadline", "log"]
    assert [getattr(facade, name) for name in same] == [getattr(handle, name) for name in same]
    assert 0 < facade.remaining <= 60


async def test_a_pause_ends_when_the_body_shall_end(thread: OwnThread) -> None:
    handle = context.Context("metrics", clock=Clock())
    facade = blocking.Context(handle)
    pausing = await begun(thread, lambda: facade.sleep(3600))
    assert not pausing.done()
    handle.ask_to_stop(within=5)
    await soon(pausing)
    assert facade.stopping
    assert facade.deadline is not None
    await soon(thread.call(lambda: facade.sleep(3600)))


async def test_turns_come_until_the_body_shall_end(thread: OwnThread) -> None:
    handle = context.Context("metrics", clock=Clock())
    seen: list[int] = []

    def body() -> None:
        for turn in blocking.Stopping(handle).every(0.001):
            seen.append(turn)

    repeating = await begun(thread, body)
    await until(lambda: len(seen) > 3, "some turns")
    handle.ask_to_stop(within=5)
    await soon(repeating)
    assert seen == sorted(set(seen))
    assert seen[0] == 0


async def test_a_loop_that_is_left_leaves_nothing_behind(thread: OwnThread) -> None:
    handle = context.Context("metrics", clock=Clock())
    assert await soon(thread.call(lambda: next(iter(blocking.Context(handle).every(3600))))) == 0
    await turns()  # what is left is closed in the loop; a warning would fail the test


async def test_readiness_and_wishes_reach_the_loop_from_a_thread(thread: OwnThread, handle: term.Term) -> None:
    ready = asyncio.Event()
    handle.when_ready(ready.set)
    over = asyncio.ensure_future(handle.over())
    await turns()
    await soon(thread.call(blocking.Term(handle).ready))
    await soon(ready.wait())
    await soon(thread.call(lambda: handle.ask_to_resign("was asked to resign")))
    await soon(over)


async def test_a_call_that_waits_is_refused_where_an_event_loop_runs(handle: term.Term) -> None:
    facade = blocking.Term(handle)
    with pytest.raises(RuntimeError, match="in a thread whose event loop runs"):
        facade.sleep(0)
    with pytest.raises(RuntimeError, match="in a thread whose event loop runs"):
        next(facade.every(1))
    transaction = facade.transaction(sqlalchemy.create_engine("sqlite:///never-made.db"))
    with pytest.raises(RuntimeError, match="in a thread whose event loop runs"):
        transaction.__enter__()
    facade.check()
    assert facade.is_current


async def test_the_loop_of_another_thread_is_no_place_for_it_either(thread: OwnThread, handle: term.Term) -> None:
    async def body() -> None:
        blocking.Term(handle).sleep(0)

    with pytest.raises(RuntimeError, match="in a thread whose event loop runs"):
        await soon(thread.call(lambda: asyncio.run(body())))


# -- the end of a term


async def test_at_a_planned_end_pauses_return_and_checks_raise(thread: OwnThread, handle: term.Term) -> None:
    facade = blocking.Term(handle)
    pausing = await begun(thread, lambda: facade.sleep(3600))
    handle.ask_to_stop(within=5)
    handle.end("was asked to resign")
    await soon(pausing)
    assert await soon(thread.call(lambda: list(facade.every(1)))) == []
    with pytest.raises(TermEndedError, match="was asked to resign"):
        facade.check()
    assert (facade.is_current, facade.ended) == (False, "was asked to resign")


@pytest.mark.parametrize("call", [lambda term: term.sleep(3600), lambda term: list(term.every(3600))])
async def test_the_loss_of_a_term_unwinds_the_body(
    thread: OwnThread, handle: term.Term, call: Callable[[blocking.Term], object]
) -> None:
    facade = blocking.Term(handle)
    pausing = await begun(thread, lambda: call(facade))
    handle.lose("lost its lease")
    with pytest.raises(TermEndedError, match="lost its lease"):
        await soon(pausing)
    with pytest.raises(TermEndedError, match="lost its lease"):
        await soon(thread.call(lambda: call(facade)))


async def test_a_thread_that_finds_its_lease_over_wakes_those_who_wait_for_that(
    thread: OwnThread, one: Instance, handle: term.Term
) -> None:
    facade = blocking.Term(handle)
    over = asyncio.ensure_future(handle.over())
    pausing = await begun(thread, lambda: facade.sleep(3600))
    one.leases.cell.end()  # nobody has been told
    other = OwnThread("another of the body's")
    assert await soon(other.call(lambda: facade.is_current)) is False
    other.close()
    await soon(over)
    with pytest.raises(TermEndedError, match="its deadline has passed"):
        await soon(pausing)
    assert handle.is_lost


async def test_a_deadline_that_moves_back_into_the_future_revives_nothing(
    thread: OwnThread, one: Instance, handle: term.Term
) -> None:
    facade = blocking.Term(handle)
    words = one.leases.cell._words
    cancel_at, words[1] = words[1], 1
    assert await soon(thread.call(lambda: facade.is_current)) is False
    words[1] = cancel_at
    assert await soon(thread.call(lambda: facade.is_current)) is False


# -- fences, in the thread's own connection

LIBRARIES = ["sqlite3", "engine", "connection", "owner"]


class Owner:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection


class Orders:
    """The user's database; everything but `path` belongs to the thread that asks for it."""

    def __init__(self, path: Path, library: str) -> None:
        self.path, self._library = path, library
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE orders (id INTEGER)")

    def target(self) -> Any:
        if self._library in ("sqlite3", "owner"):
            connection = sqlite3.connect(self.path)  # of the calling thread alone
            return connection if self._library == "sqlite3" else Owner(connection)
        engine = sqlalchemy.create_engine(f"sqlite:///{self.path}", poolclass=sqlalchemy.NullPool)
        return engine if self._library == "engine" else engine.connect()

    def insert(self, connection: Any, number: int) -> None:
        text = f"INSERT INTO orders VALUES ({number})"
        connection.execute(text if isinstance(connection, sqlite3.Connection) else sqlalchemy.text(text))

    def close(self, target: Any) -> None:
        if isinstance(target, sqlalchemy.Engine):
            target.dispose()
        else:
            (target.connection if isinstance(target, Owner) else target).close()

    def written(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM orders")]


@pytest.fixture(params=LIBRARIES)
def orders(request: pytest.FixtureRequest, tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders.db", request.param)


def write(facade: blocking.Term, orders: Orders, error: Exception | None = None) -> None:
    target = orders.target()
    try:
        with facade.transaction(target) as connection:
            orders.insert(connection, facade.token)
            if error is not None:
                raise error
    finally:
        orders.close(target)


async def test_a_fenced_transaction_is_committed_in_the_bodys_own_thread(
    thread: OwnThread, handle: term.Term, orders: Orders
) -> None:
    facade = blocking.Term(handle)
    for _ in range(2):
        await soon(thread.call(lambda: write(facade, orders)))
    assert orders.written() == [7, 7]


async def test_an_error_rolls_back_and_comes_through(thread: OwnThread, handle: term.Term, orders: Orders) -> None:
    facade = blocking.Term(handle)
    for error in (KeyError("boom"), StopIteration("boom")):
        with pytest.raises((KeyError, RuntimeError), match=r"boom|StopIteration"):
            await soon(thread.call(partial(write, facade, orders, error)))
    assert orders.written() == []


async def test_a_later_term_shuts_an_older_one_out(thread: OwnThread, one: Instance, orders: Orders) -> None:
    old, new = blocking.Term(await term_of(one, 7)), blocking.Term(await term_of(one, 8))
    await soon(thread.call(lambda: write(old, orders)))
    await soon(thread.call(lambda: write(new, orders)))
    with pytest.raises(StaleTermError):
        await soon(thread.call(lambda: write(old, orders)))
    assert orders.written() == [7, 8]


async def test_a_term_that_is_over_begins_nothing(thread: OwnThread, handle: term.Term, orders: Orders) -> None:
    handle.end("resigned")
    with pytest.raises(TermEndedError):
        await soon(thread.call(lambda: write(blocking.Term(handle), orders)))
    assert orders.written() == []


async def test_a_token_is_checked_inside_the_users_own_transaction(
    thread: OwnThread, one: Instance, tmp_path: Path
) -> None:
    orders = Orders(tmp_path / "orders.db", "sqlite3")

    def write_by_hand(facade: blocking.Term) -> None:
        with closing(sqlite3.connect(orders.path)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            facade.fence(connection)
            orders.insert(connection, facade.token)

    old, new = await term_of(one, 7), await term_of(one, 8)
    await soon(thread.call(lambda: write_by_hand(blocking.Term(new))))
    with pytest.raises(StaleTermError):
        await soon(thread.call(lambda: write_by_hand(blocking.Term(old))))
    assert orders.written() == [8]


async def test_what_belongs_to_an_event_loop_is_refused_with_what_to_give(
    thread: OwnThread, handle: term.Term, tmp_path: Path
) -> None:
    facade = blocking.Term(handle)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")

    def transaction(target: Any) -> None:
        with facade.transaction(target):
            pass

    async with aiosqlite.connect(tmp_path / "orders.db") as connection:
        for target in (engine, connection):
            assert fence_of(target).is_async
            for call in (transaction, facade.fence):
                with pytest.raises(UnsupportedError, match=r"cannot use .*, which belongs to an event loop"):
                    await soon(thread.call(partial(call, target)))
    await engine.dispose()


async def test_the_clock_of_a_facade_is_its_handles(thread: OwnThread) -> None:
    clock = ManualClock()
    handle = context.Context("metrics", clock=clock)
    handle.ask_to_stop(within=5)
    clock.pass_by(2)
    assert await soon(thread.call(lambda: blocking.Context(handle).deadline)) == 3.0
