"""The schema of the job database goes forward, and the last release works on it meanwhile.

`release_1.json` holds what the release before said to its database, statement by statement, and how it made its tables:
it was written down once, by that release, and is never written anew.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

from locum.errors import SchemaError
from locum.jobs.database import opened
from locum.jobs.finish import Finish
from locum.jobs.ledger import Ledger
from locum.jobs.tables import LEAST_READER, SCHEMA, Tables
from tests.unit.jobs.book import A, Book, do_everything, job

if TYPE_CHECKING:
    from sqlalchemy import Connection

_KEPT = json.loads((Path(__file__).parent / "release_1.json").read_text())


class _Undone(Exception):  # noqa: N818 - it is none of ours: it has a transaction rolled back
    """Raised to undo."""


def _release_1(db: Connection) -> dict[str, Any]:
    return dict(_KEPT[db.dialect.name])


def _schema_of(db: Connection, book: Book) -> str | None:
    return book.ledger._tables.metadata.schema


def _fitted(text: str, schema: str | None) -> str:
    return text if schema is None else text.replace("SCHEMA", schema)


async def go_back(book: Book) -> None:
    """Have the tables be as the release before has made them, with a job of its."""

    def work(db: Connection) -> None:
        schema = _schema_of(db, book)
        book.ledger._tables.metadata.drop_all(db)
        for text in _release_1(db)["made"]:
            db.exec_driver_sql(_fitted(text, schema))
        meta = book.ledger._tables.meta.fullname
        db.exec_driver_sql(f"INSERT INTO {meta} (one, schema, least_reader) VALUES (1, 1, 1)")
        jobs = book.ledger._tables.jobs.fullname
        for name in ("sum", "cut", "after"):
            trigger = "every 3600 s since 1970-01-01T00:00:00+00:00" if name == "sum" else ""
            db.exec_driver_sql(
                f"INSERT INTO {jobs} VALUES ('billing', '{name}', '{trigger}', 1, 0, 0, 0, 0, '', '', NULL)"
            )

    await book.do(work)


async def say_it_all(book: Book) -> None:
    """Say what the release before has said, word by word."""

    def work(db: Connection) -> None:
        schema, release = _schema_of(db, book), _release_1(db)
        for number, values, many in release["said"]:
            text = _fitted(release["texts"][number], schema)
            given = [tuple(one) for one in values] if many else tuple(values)
            result = db.exec_driver_sql(text, given or None)
            if result.returns_rows:
                result.fetchall()

    await book.do(work)


async def test_tables_of_the_release_before_are_brought_forward(url: str) -> None:
    async with opened(url, namespace="billing", timeout=30) as database:
        book = Book(database)
        await go_back(book)
        await say_it_all(book)  # as it did on its own tables
        before = await book.do(lambda db: [dict(row._mapping) for row in db.execute(_history(book))])
    async with opened(url, namespace="billing", timeout=30) as database:
        book = Book(database)
        found = await book.do(lambda db: db.execute(sqlalchemy.select(book.ledger._tables.meta)).one())
        assert (found.schema, found.least_reader) == (SCHEMA, LEAST_READER)
        after = await book.do(lambda db: [dict(row._mapping) for row in db.execute(_history(book))])
        assert before == after
        assert all(row.limit_key is None for row in await book.do(lambda db: book.ledger.history(db, slices=True)))
        kept = job("cut", trigger=None, key="all")  # of a run that the old release has made, the key is found late
        await book.declare(kept)
        await book.do(lambda db: book.ledger.run_now(db, "cut", nonce=None, params="{}"))
        (run,) = await book.take(kept)
        assert run.limit_key == "all"
        assert await book.finish(run)


def _history(book: Book) -> Any:
    history = book.ledger._tables.history
    there = [column for column in history.c if column.name not in ("limit_key", "key_places")]
    return sqlalchemy.select(*there).order_by(history.c.id)


async def test_the_last_release_works_on_the_tables_of_this_one(url: str) -> None:
    """What it has said once, from a declaration to a purge, it can say again here; and this one goes on with that."""
    async with opened(url, namespace="billing", timeout=30) as database:
        await go_back(Book(database))
    async with opened(url, namespace="billing", timeout=30) as database:
        book = Book(database)
        await say_it_all(book)
        rows = await book.do(lambda db: book.ledger.history(db, slices=True))
        assert Counter(row.outcome for row in rows) == {"succeeded": 4, "cancelled": 1}
        of = job("sum")
        (waiting,) = await book.live("sum")
        await book.declare(of)
        (run,) = [one for one in await book.take(of) if one.id == waiting.id]
        end = Finish(run.id, run.token, "succeeded")
        assert not await book.do(lambda db: book.ledger.finish(db, [end], session=A))


async def test_what_was_brought_forward_halfway_is_as_it_was(url: str) -> None:
    async with opened(url, namespace="billing", timeout=30) as database:
        book = Book(database)
        await go_back(book)

        def half(db: Connection) -> None:
            book.ledger.prepare(db)
            raise _Undone

        with pytest.raises(_Undone):
            await book.do(half)
        found = await book.do(lambda db: db.execute(sqlalchemy.select(book.ledger._tables.meta)).one())
        assert found.schema == 1
        await book.do(book.ledger.prepare)
        await book.do(book.ledger.prepare)  # once more does nothing


async def test_a_schema_that_needs_a_newer_reader_is_refused(url: str) -> None:
    async with opened(url, namespace="billing", timeout=30) as database:
        book = Book(database)
        meta = book.ledger._tables.meta
        await book.do(lambda db: db.execute(sqlalchemy.update(meta).values(schema=99, least_reader=SCHEMA)))
    async with opened(url, namespace="billing", timeout=30) as database:  # newer, and may be worked on
        await Book(database).do(lambda db: db.execute(sqlalchemy.update(meta).values(least_reader=SCHEMA + 1)))
    with pytest.raises(SchemaError):
        async with opened(url, namespace="billing", timeout=30):
            pass


# -- MySQL, which has no job database yet: the same statements mean something there


async def test_the_statements_can_be_said_to_mysql(tmp_path: Path) -> None:
    dialect, said = mysql.dialect(), set[str]()

    spoken: Any = _Spoken(dialect)

    def compiled(_: Any, statement: Any, many: Any, values: Any, __: Any) -> None:
        if isinstance(statement, sqlalchemy.sql.dml.Insert) and statement._post_values_clause is not None:
            table: Any = statement.table
            statement = Ledger._insert_unknown(spoken, table)  # each dialect has words of its own
        keys = list((many or [values])[0]) or None
        text = statement.compile(dialect=dialect, column_keys=keys)
        said.add(str(text).split(" ", 1)[0])

    async with opened(f"sqlite:///{tmp_path}/jobs.db", namespace="billing", timeout=30) as database:
        book = Book(database)
        await book.do(lambda db: sqlalchemy.event.listen(db.engine, "before_execute", compiled))
        await do_everything(book)
    assert said == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    for table in Tables("locum").metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))


class _Spoken:
    """A connection of which only the dialect is asked."""

    def __init__(self, dialect: Any) -> None:
        self.dialect = dialect
