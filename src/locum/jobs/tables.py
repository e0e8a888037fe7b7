"""The tables of the job database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from locum.databases.schema import Schema, meta_table
from locum.jobs.migrations import moves

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["LEAST_READER", "SCHEMA", "Tables", "micros_now"]

SCHEMA: Final = 2
"""The schema that this release writes, and the highest that it reads."""
LEAST_READER: Final = 1
"""The oldest release that may work on it, by the schema that it writes."""

_NAME: Final = 128
_NONCE: Final = 160  # a name, and who asked
_KEY: Final = 200


class micros_now(FunctionElement[int]):  # noqa: N801 - it is a function of SQL
    """The job database's clock, in microseconds since 1970: what is due is due by it, and by no instance's clock."""

    type = BigInteger()
    inherit_cache = True


@compiles(micros_now, "postgresql")
def _of_postgresql(_element: micros_now, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)"


@compiles(micros_now, "sqlite")
def _of_sqlite(_element: micros_now, _compiler: SQLCompiler, **_: Any) -> str:
    # whole milliseconds, which is as fine as its clock is; rounded down, so that nothing is early
    return "(CAST(strftime('%s', 'now') AS INTEGER) * 1000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER)) * 1000"


@compiles(micros_now, "mysql")
def _of_mysql(_element: micros_now, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"


class Tables:
    """The tables, in a schema of their own where the database has such.

    Attributes:
        schema: Which schema they have, and how they come to have it.
        meta: One row: which schema it is, and the least that may read it.
        jobs: One row a job: its trigger, when it is planned next, up to when it was decided, its last token.
        runs: What is not over: waits, or goes. Small, whatever the history.
        history: What is over, what was left out, and the dead letters.
        progress: How far executions are, for people: apart from the runs, whose rows others wait for.
        keys: One row a key that limits runs: whoever counts how often it is used has it locked.
        rosters: One row a session: the jobs that its instance has declared.
        floors: One row: a number that the tokens of new jobs are above, for jobs of their name may have been removed.

    Args:
        schema: Its name; `None` for none.
    """

    def __init__(self, schema: str | None) -> None:
        self.metadata = metadata = MetaData(schema=schema)
        self.meta = meta_table("job_meta", metadata)
        self.jobs = Table(
            "jobs",
            metadata,
            Column("namespace", String(_NAME), primary_key=True),
            Column("name", String(_NAME), primary_key=True),
            Column("trigger_text", Text, nullable=False),
            Column("places", Integer, nullable=False),  # how many of its runs may go at once
            Column("next_at", BigInteger),  # 0: to be worked out from now on; NULL: never
            Column("decided_until", BigInteger, nullable=False),
            Column("token", BigInteger, nullable=False),
            Column("paused", SmallInteger, nullable=False),
            Column("pause_reason", Text, nullable=False),
            Column("pause_author", Text, nullable=False),
            Column("checkpoint", Text),
        )
        self.runs = Table("job_runs", metadata, *_of_a_run(), *_of_a_live_run(), _identity("job_runs_identity"))
        self.history = Table(
            "job_history",
            metadata,
            *_of_a_run(),
            Column("outcome", String(16), nullable=False),
            Column("finished_at", BigInteger, nullable=False),
            Column("result", Text),
        )
        self.progress = Table(
            "job_progress",
            metadata,
            Column("run", String(32), primary_key=True),
            Column("token", BigInteger, primary_key=True, autoincrement=False),
            Column("namespace", String(_NAME), nullable=False),
            Column("said", Text, nullable=False),  # as JSON
        )
        self.keys = Table(
            "job_keys",
            metadata,
            Column("namespace", String(_NAME), primary_key=True),
            Column("name", String(_KEY), primary_key=True),
        )
        self.rosters = Table(
            "job_rosters",
            metadata,
            Column("namespace", String(_NAME), primary_key=True),
            Column("session", String(32), primary_key=True),
            Column("instance", String(_NAME), nullable=False),
            Column("names", Text, nullable=False),  # as JSON
        )
        self.floors = Table(
            "job_floors",
            metadata,
            Column("namespace", String(_NAME), primary_key=True),
            Column("token", BigInteger, nullable=False),
        )
        self.schema = Schema(self.meta, SCHEMA, LEAST_READER, moves(self.runs, self.history))
        runs, history = self.runs.c, self.history.c
        Index("jobs_by_next", self.jobs.c.namespace, self.jobs.c.next_at)
        Index("job_runs_by_job", runs.namespace, runs.job, runs.state, runs.not_before)
        Index("job_runs_by_parent", runs.parent)
        Index("job_runs_by_session", runs.namespace, runs.session)
        Index("job_runs_by_key", runs.namespace, runs.limit_key)
        Index("job_history_by_job", history.namespace, history.job, history.fire_at)
        Index("job_history_by_parent", history.parent, history.outcome)
        Index("job_history_by_end", history.namespace, history.outcome, history.finished_at)


def _of_a_run() -> list[Column[Any]]:
    return [
        Column("id", String(32), primary_key=True),
        Column("namespace", String(_NAME), nullable=False),
        Column("job", String(_NAME), nullable=False),
        Column("fire_at", BigInteger, nullable=False),
        Column("nonce", String(_NONCE), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("losses", Integer, nullable=False),
        Column("token", BigInteger, nullable=False),
        Column("instance", String(_NAME), nullable=False),
        Column("params", Text, nullable=False),
        Column("error", Text, nullable=False),
        Column("parent", String(32)),  # of a slice: its run
        Column("part", Integer),  # of a slice: which it is
        Column("parts", Integer),  # of a run that is cut, and of its slices: how many there are
        Column("completes", SmallInteger),  # of a run that is cut: whether something is to be done at its end
        Column("limit_key", String(_KEY)),  # of a whole run, whose job has such: what it shares its limit by
        Column("key_places", Integer),  # how many with that key may go at once
    ]


def _of_a_live_run() -> list[Column[Any]]:
    return [
        Column("state", String(16), nullable=False),
        Column("not_before", BigInteger, nullable=False),
        Column("session", String(32)),
        Column("slot", Integer),
        Column("cancelling", SmallInteger, nullable=False),
        Column("checkpoint", Text),  # of a slice, its own
    ]


def _identity(name: str) -> UniqueConstraint:
    return UniqueConstraint("namespace", "job", "fire_at", "nonce", name=name)
