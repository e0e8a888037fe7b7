"""The job database: every statement, in functions that each are one transaction's work.

A run's identity is its job, its time and its nonce; there is one record of it. A claim binds it to the instance's
session and to a token, the next of its job's. A finish names the run and the token, and is refused where another has it
by now. `claims`, `ends` and `wishes` are its rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, inspect, select, update

from locum.errors import SchemaError
from locum.jobs.claims import Claims, Taken
from locum.jobs.ends import Ends
from locum.jobs.tables import SCHEMA
from locum.jobs.wishes import BACKFILL, MANUAL, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from locum.jobs.job import Job

__all__ = ["BACKFILL", "MANUAL", "Ledger", "Taken"]


class Ledger(Claims, Ends, Wishes):
    """The job database of one namespace.

    Promises: one record for each time of a job, live or over; a token is never given twice, and the tokens of a job
    only grow; what is refused has changed nothing.
    Assumes: a transaction is atomic, and one that locks a job's row is alone with it.
    On loss: a transaction that did not commit has left nothing; one that did, something that any instance goes on with.
    """

    def is_prepared(self, db: Connection) -> bool:
        """Whether the tables are there, of a schema that this release can read.

        Raises:
            SchemaError: They need a newer reader.
        """
        if not inspect(db).has_table(self._tables.meta.name, schema=self._tables.meta.schema):
            return False
        found = db.execute(select(self._tables.meta.c.least_reader)).scalar()
        if found is not None and found > SCHEMA:
            raise SchemaError(self._store, found, SCHEMA)
        # what this release has added is no new schema: who does not know of it works on without
        is_whole = inspect(db).has_table(self._tables.progress.name, schema=self._tables.progress.schema)
        return found is not None and is_whole

    def prepare(self, db: Connection) -> None:
        """Make the tables where there are none.

        Raises:
            SchemaError: What is there needs a newer reader.
        """
        if not self.is_prepared(db):
            self._tables.metadata.create_all(db)
            if db.execute(select(self._tables.meta.c.one)).first() is None:
                db.execute(insert(self._tables.meta).values(one=1, schema=SCHEMA, least_reader=SCHEMA))

    def declare(self, db: Connection, jobs: Iterable[Job]) -> None:
        """Write down what is declared; a trigger that has changed is worked out anew from now on."""
        # in one order, so that instances that start together do not wait for each other
        declared = sorted(jobs, key=lambda job: job.name)
        known = {row.name: row for row in db.execute(self._select_jobs())}
        new = [job for job in declared if job.name not in known]
        if new:
            now = self.now(db)
            db.execute(self._insert_unknown(db), [self._as_row(job, now) for job in new])
        changed = [
            {"b_name": job.name, "b_trigger": job.trigger_text, "b_next": _unplanned(job)}
            for job in declared
            if job.name in known and known[job.name].trigger_text != job.trigger_text
        ]
        this = (self._jobs.c.namespace == self._namespace, self._jobs.c.name == bindparam("b_name"))
        if changed:
            planned: dict[str, Any] = {"trigger_text": bindparam("b_trigger"), "next_at": bindparam("b_next")}
            db.execute(update(self._jobs).where(*this).values(planned), changed)
        places = [
            {"b_name": job.name, "b_places": job.overlap.places}
            for job in declared
            if job.name in known and known[job.name].places != job.overlap.places
        ]
        if places:
            db.execute(update(self._jobs).where(*this).values(places=bindparam("b_places")), places)

    # -- inside

    def _insert_unknown(self, db: Connection) -> Any:
        """Another instance that starts may do so at this very moment."""
        if db.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(self._jobs).on_conflict_do_nothing()
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(self._jobs).on_conflict_do_nothing()

    def _as_row(self, job: Job, now: int) -> dict[str, Any]:
        return {
            "namespace": self._namespace,
            "name": job.name,
            "trigger_text": job.trigger_text,
            "places": job.overlap.places,
            "next_at": _unplanned(job),
            "decided_until": 0 if job.trigger is None else now,
            "token": 0,
            "paused": 0,
            "pause_reason": "",
            "pause_author": "",
            "checkpoint": None,
        }


def _unplanned(job: Job) -> int | None:
    """When it is planned: 0 says that it is to be worked out."""
    return None if job.trigger is None else 0
