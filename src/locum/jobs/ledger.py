"""The job database: every statement, in functions that each are one transaction's work.

A run's identity is its job, its time and its nonce; there is one record of it. A claim binds it to the instance's
session and to a token, the next of its job's. A finish names the run and the token, and is refused where another has it
by now. `claims`, `ends` and `wishes` are its rooms.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, Text, delete, insert, select

from locum.jobs.claims import Claims, Taken
from locum.jobs.ends import Ends
from locum.jobs.job import instant, micros
from locum.jobs.many import Sentence
from locum.jobs.wishes import BACKFILL, MANUAL, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

    from locum.jobs.job import Job
    from locum.jobs.tables import Tables

__all__ = ["BACKFILL", "MANUAL", "Ledger", "Taken"]


class Ledger(Claims, Ends, Wishes):
    """The job database of one namespace.

    Promises: one record for each time of a job, live or over; a token is never given twice, and the tokens of a job
    only grow; what is refused has changed nothing.
    Assumes: a transaction is atomic, and one that locks a job's row is alone with it.
    On loss: a transaction that did not commit has left nothing; one that did, something that any instance goes on with.
    """

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        super().__init__(tables, namespace, store)
        self._which_are_known = Sentence(lambda words: self._select_jobs(words.any_of(self._jobs.c.name, "names")))
        self._plan_anew = self._changed({"trigger_text": Text(), "next_at": BigInteger()})
        self._change_places = self._changed({"places": Integer()})

    def is_prepared(self, db: Connection) -> bool:
        """Whether the tables are there, of a schema that this release knows or a newer one that it may work on.

        Raises:
            SchemaError: They need a newer reader.
        """
        return self._tables.schema.is_prepared(db, self._store)

    def prepare(self, db: Connection) -> None:
        """Make the tables where there are none, and bring those of an older release forward.

        Raises:
            SchemaError: What is there needs a newer reader.
        """
        self._tables.schema.prepare(db, self._store)

    def declare(self, db: Connection, jobs: Iterable[Job]) -> int:
        """Write down what is declared.

        A trigger that has changed is worked out anew from now on; so is one whose zone has other rules by now, as a new
        release of these may have it, than when its next time was planned.

        Returns:
            How many were not known.
        """
        # in one order, so that instances that start together do not wait for each other
        declared = sorted(jobs, key=lambda job: job.name)
        known = {row.name: row for row in self._which_are_known.say(db, names=[job.name for job in declared])}
        new = [job for job in declared if job.name not in known]
        now = self.now(db)
        if new:
            floor = self._floor(db)
            db.execute(self._insert_unknown(db, self._jobs), [self._as_row(job, now, floor) for job in new])
        changed = [
            {"name": job.name, "trigger_text": job.trigger_text, "next_at": _unplanned(job)}
            for job in declared
            if job.name in known and _is_to_be_planned(job, known[job.name], now)
        ]
        self._plan_anew.say(db, changed)
        places = [
            {"name": job.name, "places": job.overlap.places}
            for job in declared
            if job.name in known and known[job.name].places != job.overlap.places
        ]
        self._change_places.say(db, places)
        return len(new)

    def survey(self, db: Connection) -> None:
        """Have a server know how much there is, when that has become much at once: by itself it looks after a minute.

        Until then it takes the jobs of a namespace for few, and reads all of them for each look.
        """
        if db.dialect.name == "postgresql":
            db.exec_driver_sql(f"ANALYZE {db.dialect.identifier_preparer.format_table(self._jobs)}")

    def enlist(self, db: Connection, names: Iterable[str], *, session: str, instance: str) -> None:
        """Write down which jobs an instance has declared, for as long as its session lives."""
        rosters = self._tables.rosters
        db.execute(delete(rosters).where(self._of_ours(rosters), rosters.c.session == session))
        row = {"namespace": self._namespace, "session": session, "instance": instance}
        db.execute(insert(rosters).values(**row, names=json.dumps(sorted(names))))

    # -- inside

    def _floor(self, db: Connection) -> int:
        """What the tokens of new jobs are above."""
        floors = self._tables.floors
        return int(db.execute(select(floors.c.token).where(self._of_ours(floors))).scalar() or 0)

    def _as_row(self, job: Job, now: int, floor: int) -> dict[str, Any]:
        return {
            "namespace": self._namespace,
            "name": job.name,
            "trigger_text": job.trigger_text,
            "places": job.overlap.places,
            "next_at": _first_after(job, now),
            "decided_until": 0 if job.trigger is None else now,
            "token": floor,
            "paused": 0,
            "pause_reason": "",
            "pause_author": "",
            "checkpoint": None,
        }


def _first_after(job: Job, now: int) -> int | None:
    """When a job fires first after an instant."""
    first = None if job.trigger is None else job.trigger.next_after(instant(now))
    return None if first is None else micros(first)


def _is_to_be_planned(job: Job, known: Row[Any], now: int) -> bool:
    """Whether what is planned of a job is not what its trigger says."""
    if known.trigger_text != job.trigger_text:
        return True
    if job.trigger is None or not job.trigger.follows_walls or known.next_at is None or known.next_at <= now:
        return False  # what is due, or is to be worked out, is nobody's guess
    return bool(known.next_at != _first_after(job, max(now, known.decided_until)))


def _unplanned(job: Job) -> int | None:
    """When it is planned: 0 says that it is to be worked out."""
    return None if job.trigger is None else 0
