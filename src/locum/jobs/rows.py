"""Rows of the job database as the rooms of the ledger read and write them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, any_, bindparam, select, update

from locum.databases.database import wake_others
from locum.errors import UnknownJobError
from locum.jobs.steps import READY, JobRow, LiveRun
from locum.jobs.tables import micros_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row, Table

    from locum.jobs.tables import Tables

__all__ = ["SECOND", "Rows", "job_of", "run_of", "storable"]

SECOND: Final = 1_000_000
_LONGEST_ERROR: Final = 2000
_OF_A_RUN: Final = tuple(one.name for one in fields(LiveRun) if one.name != "is_new")


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

    def now(self, db: Connection) -> int:
        """The database's time, in microseconds."""
        return int(db.execute(select(micros_now())).scalar_one())

    def wake(self, db: Connection) -> None:
        """Have other instances look at once, when the transaction is committed: there is something for them."""
        wake_others(db)

    @staticmethod
    def _among(db: Connection, column: Any, texts: Iterable[str]) -> Any:
        """Whether a column is one of some texts; on PostgreSQL in the same words however many they are."""
        if db.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import ARRAY

            return column == any_(bindparam(None, list(texts), type_=ARRAY(String)))
        return column.in_(list(texts))

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

    def _columns(self, run: LiveRun) -> dict[str, Any]:
        """A run that nobody executes."""
        return {
            **{name: getattr(run, name) for name in _OF_A_RUN},
            "namespace": self._namespace,
            "instance": "",
            "error": "",
            "session": None,
            "cancelling": 0,
            "completes": None,
        }

    def _over(
        self, columns: dict[str, Any], outcome: str, error: str, now: int, *, result: str | None = None
    ) -> dict[str, Any]:
        kept = {name: value for name, value in columns.items() if name in self._history.c}
        return {**kept, "error": storable(error), "outcome": outcome, "finished_at": now, "result": result}

    def _ready(self, **others: Any) -> dict[str, Any]:
        """What becomes of a run whose attempt is over, and which is not: it has no place until it begins again."""
        return {"state": READY, "session": None, "slot": None, **others}


def job_of(row: Row[Any]) -> JobRow:
    """A job's row."""
    return JobRow(
        row.name, row.trigger_text, row.next_at, row.decided_until, row.token, bool(row.paused), row.checkpoint
    )


def run_of(row: Row[Any]) -> LiveRun:
    """A run's row."""
    return LiveRun(**{name: row._mapping[name] for name in _OF_A_RUN})


def storable(text: str) -> str:
    """A text that every database takes: not too long, without what UTF-8 has no bytes for, and without zeros."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"
