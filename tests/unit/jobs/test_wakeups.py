"""Whoever has something for others tells them, so that they need not wait for their next look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from locum.jobs.database import opened
from locum.jobs.finish import Finish
from locum.scopes import Scope, cancel_and_wait, told_by_result
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Pooler, Postgresql, shared
from tests.unit.jobs.book import A, Book, job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LONG = 30.0


async def told(listener: Book, work: Callable[[], Awaitable[object]], *, again: bool = True) -> bool:
    """Whether who listens is told of what is done meanwhile."""
    heard = asyncio.Event()
    async with Scope("test", on_error=told_by_result) as scope:
        listening = scope.spawn(listener.database.listen(heard.set), name="listen")
        # on a server the first is told when it has begun to listen; a file is watched at once
        try:
            async with asyncio.timeout(0.3):
                await heard.wait()
        except TimeoutError:
            pass
        heard.clear()
        await work()
        try:
            async with asyncio.timeout(_LONG if again else 0.5):
                await heard.wait()
        except TimeoutError:
            return False
        finally:
            await cancel_and_wait(listening)
        return True


async def test_who_listens_is_told_of_what_others_ask_for(book: Book, url: str) -> None:
    of = job("sum", slices=2, trigger=None)
    await book.declare(of)

    async def run_now() -> Any:
        return await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=None, params="{}"))

    async with opened(url, namespace="billing", timeout=30) as other:
        listener = Book(other)
        assert await told(listener, run_now)
        (run,) = await book.take(of)
        cut = Finish(run.id, run.token, "cut", parts=("{}", "{}"))
        assert await told(listener, lambda: book.do(lambda db: book.ledger.finish(db, [cut], session=A)))
        assert await told(listener, lambda: book.do(lambda db: book.ledger.cancel(db, run.id)))


async def test_nobody_is_told_of_what_concerns_nobody_else_nor_of_what_was_undone(book: Book, url: str) -> None:
    of = job("sum", trigger=None)
    await book.declare(of)
    await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=None, params="{}"))

    async def one_run() -> None:
        (run,) = await book.take(of)
        assert await book.finish(run)

    async def undone() -> None:
        def work(db: Any) -> None:
            book.ledger.run_now(db, "sum", nonce=None, params="{}")
            raise ValueError("undone")

        with pytest.raises(ValueError, match="undone"):
            await book.do(work)

    async with opened(url, namespace="billing", timeout=30) as other:
        assert not await told(Book(other), one_run, again=False)
        assert not await told(Book(other), undone, again=False)


async def test_behind_a_pooler_nothing_is_prepared_and_nobody_listens() -> None:
    demand_server("postgresql", Postgresql.is_installed())
    demand_server("pgbouncer", Pooler.is_installed())
    server, schema = shared(), "pooled_jobs"
    pooler = Pooler(server)
    pooler.start()
    try:
        url = f"postgresql://owner:{server.password}@127.0.0.1:{pooler.port}/postgres?schema={schema}"
        async with opened(url, namespace="billing", timeout=30) as database:
            book = Book(database)
            of = job("sum", trigger=None)
            await book.declare(of)
            for _ in range(20):  # each transaction may have another server
                await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=None, params="{}"))
                (run,) = await book.take(of)
                assert await book.finish(run)
            assert not await told(book, lambda: book.do(book.ledger.jobs), again=False)
    finally:
        pooler.stop()
        server.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
