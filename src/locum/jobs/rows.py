"""Rows of the job database as the rooms of the ledger read and write them."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, String, Text, delete, insert, select, update

from locum.databases.database import wake_others
from locum.errors import UnknownJobError
from locum.jobs.many import Many, Sentence, has_arrays
from locum.jobs.steps import JobRow, LiveRun
from locum.jobs.tables import micros_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row, Table
    from sqlalchemy.types import TypeEngine

    from locum.jobs.tables import Tables

__all__ = ["SECOND", "Rows", "columns_of_a_run", "job_of", "run_of", "storable"]

SECOND: Final = 1_000_000
_LONGEST_ERROR: Final = 2000
_OF_A_RUN: Final = tuple(one.name for one in fields(LiveRun) if one.name != "is_new")
_told_of: Final = attrgetter(*_OF_A_RUN)
_OF_AN_END: Final[dict[str, TypeEngine[Any]]] = {
    "id": String(),
    "outcome": String(),
    "error": Text(),
    "finished_at": BigInteger(),
    "result": Text(),
}


class Rows:
    """What the rooms of the ledger have in common.

    They are written for a plain SQLAlchemy connection: SQLite's is called in a thread, PostgreSQL's by `run_sync`.

    Args:
        tables: Where.
        namespace: Whose.
        store: The database's URL, for messages.
    """

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        self._namespace, self._store = namespace, store
        self._tables, self._jobs, self._runs, self._history = tables, tables.jobs, tables.runs, tables.history
        self._what_time_is_it = Sentence(lambda _: select(micros_now()))
        self._insert_runs, self._insert_history = Many.into(tables.runs), Many.into(tables.history)
        self._delete_runs = Many({"id": String()}, lambda one: delete(tables.runs).where(tables.runs.c.id == one("id")))
        self._write_over = Many(_OF_AN_END, self._over_of)
        self._move_over = Many(_OF_AN_END, self._moved_over)

    def now(self, db: Connection) -> int:
        """The database's time, in microseconds."""
        return int(self._what_time_is_it.say(db).scalar_one())

    def wake(self, db: Connection) -> None:
        """Have other instances look at once, when the transaction is committed: there is something for them."""
        wake_others(db)

    @staticmethod
    def _insert_unknown(db: Connection, table: Table) -> Any:
        """Insert what is not there; somebody else may do so at this very moment."""
        if db.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table).on_conflict_do_nothing()
        if db.dialect.name == "mysql":
            from sqlalchemy.dialects import mysql

            return mysql.insert(table).prefix_with("IGNORE")
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()

    def _of_ours(self, table: Any) -> Any:
        return table.c.namespace == self._namespace

    def _select_jobs(self, *where: Any) -> Any:
        return select(self._jobs).where(self._of_ours(self._jobs), *where)

    def _select_runs(self, *where: Any) -> Any:
        return select(self._runs).where(self._of_ours(self._runs), *where)

    def _lock(self, db: Connection, job: str) -> Row[Any]:
        """A job's row, which nobody else changes until the end of the transaction.

        Raises:
            UnknownJobError: There is no such job.
        """
        row: Row[Any] | None = db.execute(self._select_jobs(self._jobs.c.name == job).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJobError(f"job {job!r}", self._store)
        return row

    def _change(self, db: Connection, job: str, **values: Any) -> None:
        db.execute(update(self._jobs).where(self._of_ours(self._jobs), self._jobs.c.name == job).values(**values))

    def _changed(self, kinds: Mapping[str, TypeEngine[Any]]) -> Many:
        """What changes columns of jobs, each by its name."""
        jobs = self._jobs

        def change(one: Any) -> Any:
            changed = update(jobs).where(self._of_ours(jobs), jobs.c.name == one("name"))
            return changed.values({name: one(name) for name in kinds})

        return Many({"name": String(), **kinds}, change)

    def _columns(self, run: LiveRun) -> dict[str, Any]:
        """A run that nobody executes."""
        return {
            **dict(zip(_OF_A_RUN, _told_of(run), strict=True)),
            "namespace": self._namespace,
            "instance": "",
            "error": "",
            "session": None,
            "cancelling": 0,
            "completes": None,
        }

    def _end(self, db: Connection, ends: Sequence[dict[str, Any]]) -> None:
        """Have runs be over, each as `_over` says it."""
        if has_arrays(db):
            self._move_over.say(db, ends)
            return
        self._write_over.say(db, ends)
        self._delete_runs.say(db, ends)

    @staticmethod
    def _over(run: str, outcome: str, why: str, now: int, *, result: str | None = None) -> dict[str, Any]:
        """How a run is over that is there."""
        return {"id": run, "outcome": outcome, "error": storable(why), "finished_at": now, "result": result}

    def _over_of(self, one: Any) -> Any:
        """The row of a run as it is kept, with how it is over: it need not come here for that."""
        names, kept = self._kept(one)
        return insert(self._history).from_select(names, select(*kept).where(self._runs.c.id == one("id")))

    def _moved_over(self, one: Any) -> Any:
        """The same, and it is a run no longer, by one statement; where a change can be read from."""
        names, kept = self._kept(one)
        gone = delete(self._runs).where(self._runs.c.id == one("id")).returning(*kept).cte("gone")
        return insert(self._history).from_select(names, select(gone))

    def _kept(self, one: Any) -> tuple[list[str], list[Any]]:
        """The columns of the history, and what a run has in each."""
        told = _OF_AN_END.keys() - {"id"}
        names = [column.name for column in self._history.c]
        return names, [one(name) if name in told else self._runs.c[name] for name in names]


def job_of(row: Row[Any]) -> JobRow:
    """A job's row."""
    return JobRow(
        row.name, row.trigger_text, row.next_at, row.decided_until, row.token, bool(row.paused), row.checkpoint
    )


def columns_of_a_run(runs: Any) -> list[Any]:
    """What is read of a run, in the order of `run_of`."""
    return [runs.c[name] for name in _OF_A_RUN]


def run_of(row: Row[Any]) -> LiveRun:
    """A run's row, of which these columns were read first."""
    return LiveRun(*row[: len(_OF_A_RUN)])


def storable(text: str) -> str:
    """A text that every database takes: not too long, without what UTF-8 has no bytes for, and without zeros."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"
