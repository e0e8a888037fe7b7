"""Runs in the job database: every statement, in functions that each are one transaction's work.

A run's identity is its job, its time and its nonce; there is one record of it. A claim binds it to the instance's
session and to a token, the next of its job's. A finish names the run and the token, and is refused where another has it
by now.

They are written for a plain SQLAlchemy connection: SQLite's is called in a thread, PostgreSQL's by `run_sync`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from locum.errors import SchemaError, UnknownJobError
from locum.jobs.finish import Finish
from locum.jobs.steps import READY, RUNNING, JobRow, LiveRun, step
from locum.jobs.tables import SCHEMA, Tables, micros_now
from locum.names import check_name, random_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from locum.jobs.job import Job
    from locum.jobs.steps import Step

__all__ = ["BACKFILL", "MANUAL", "Ledger", "Taken"]

BACKFILL: Final = "backfill"
MANUAL: Final = "manual/"

_BATCH: Final = 200
_MOST_LOSSES: Final = 5
_SECOND: Final = 1_000_000
_LONGEST_ERROR: Final = 2000
_KEPT: Final = {"succeeded": 7, "skipped": 7, "cancelled": 30}  # days; dead letters are kept until somebody decides
_DAY: Final = 86_400 * _SECOND


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look has brought.

    Attributes:
        runs: Those that begin here, under a token each; and the checkpoint of each one's job.
        cancelling: The runs of this session that are to end.
        now: The database's time, in microseconds.
        next_at: When something is due next, as far as it is known; `None` if nothing is.
        found: How many jobs there was something to decide about.
        is_full: Whether there may be more at once.
    """

    runs: tuple[tuple[LiveRun, str | None], ...]
    cancelling: frozenset[str]
    now: int
    next_at: int | None
    found: int
    is_full: bool


class Ledger:
    """The job database of one namespace.

    Promises: one record for each time of a job, live or over; a token is never given twice, and the tokens of a job
    only grow; what is refused has changed nothing.
    Assumes: a transaction is atomic, and one that locks a job's row is alone with it.
    On loss: a transaction that did not commit has left nothing; one that did, something that any instance goes on with.

    Args:
        tables: Where.
        namespace: Whose.
        store: The database's URL, for messages.
    """

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        self._namespace, self._store = namespace, store
        self._tables, self._jobs, self._runs, self._history = tables, tables.jobs, tables.runs, tables.history

    # -- the database as a whole

    def prepare(self, db: Connection) -> None:
        """Make the tables where there are none, and see that this release can read what is there.

        Raises:
            SchemaError: It needs a newer reader.
        """
        self._tables.metadata.create_all(db)
        found = db.execute(select(self._tables.meta.c.least_reader)).scalar()
        if found is None:
            db.execute(insert(self._tables.meta).values(one=1, schema=SCHEMA, least_reader=SCHEMA))
        elif found > SCHEMA:
            raise SchemaError(self._store, found, SCHEMA)

    def now(self, db: Connection) -> int:
        """The database's time, in microseconds."""
        return int(db.execute(select(micros_now())).scalar_one())

    def declare(self, db: Connection, jobs: Iterable[Job]) -> None:
        """Write down what is declared; a trigger that has changed is worked out anew from now on."""
        known = {row.name: row.trigger_text for row in db.execute(self._select_jobs()).all()}
        for job in jobs:
            planned = 0 if job.trigger is not None else None
            if job.name not in known:
                self._add(db, job, planned)
            elif known[job.name] != job.trigger_text:
                self._change(db, job.name, trigger_text=job.trigger_text, next_at=planned)

    def _add(self, db: Connection, job: Job, planned: int | None) -> None:
        new = insert(self._jobs).values(
            namespace=self._namespace,
            name=job.name,
            trigger_text=job.trigger_text,
            next_at=planned,
            decided_until=0 if planned is None else self.now(db),
            token=0,
            paused=0,
            pause_reason="",
            pause_author="",
        )
        try:
            with db.begin_nested():
                db.execute(new)
        except IntegrityError:
            pass  # another instance that starts has just done so

    # -- materialise, claim and advance

    def take(self, db: Connection, jobs: Mapping[str, Job], *, session: str, instance: str, room: int) -> Taken:
        """Decide what is due, make its runs, claim as many as there is room for, plan the next time: all at once."""
        now = self.now(db)
        rows = self._lock_due(db, jobs, now, room)
        live = self._live(db, [row.name for row in rows])
        begun: list[tuple[LiveRun, str | None]] = []
        steps: list[tuple[JobRow, Step]] = []
        for row in rows:
            found = step(jobs[row.name], row, live.get(row.name, ()), now=now, room=room - len(begun))
            begun += [(run, row.checkpoint) for run in found.begun]
            steps.append((row, found))
        escaped = self._write(db, steps, session=session, instance=instance, now=now)
        mine = select(self._runs.c.id).where(
            self._of_ours(self._runs), self._runs.c.session == session, self._runs.c.cancelling == 1
        )
        cancelling = frozenset(db.execute(mine).scalars())
        return Taken(
            tuple(one for one in begun if one[0].id not in escaped),
            cancelling,
            now,
            self._next_at(db, jobs, now),
            found=len(rows),
            is_full=len(rows) == _BATCH,
        )

    def _lock_due(self, db: Connection, jobs: Mapping[str, Job], now: int, room: int) -> list[JobRow]:
        mine = and_(self._of_ours(self._jobs), self._jobs.c.name.in_(list(jobs)))
        is_due = and_(self._jobs.c.paused == 0, self._jobs.c.next_at <= now)
        if room:
            waits = exists().where(
                self._of_ours(self._runs),
                self._runs.c.job == self._jobs.c.name,
                self._runs.c.state == READY,
                self._runs.c.not_before <= now,
            )
            is_due = or_(is_due, waits)
        chosen = self._select_jobs(mine, is_due).order_by(self._jobs.c.next_at).limit(_BATCH)
        return [_job_of(row) for row in db.execute(chosen.with_for_update(skip_locked=True))]

    def _write(
        self, db: Connection, steps: Sequence[tuple[JobRow, Step]], *, session: str, instance: str, now: int
    ) -> set[str]:
        """Write what was decided; the runs that cannot begin, for somebody has just cancelled them."""
        begun = {run.id for _, found in steps for run in found.begun}
        made = [self._columns(run) for _, found in steps for run in found.made]
        for columns in made:
            is_begun = columns["id"] in begun
            columns.update(session=session if is_begun else None, instance=instance if is_begun else "")
        claimed = [run for _, found in steps for run in found.begun if not run.is_new]
        left_out = [(run, why) for _, found in steps for run, why in found.left_out]
        replaced = [run.id for run, _ in left_out if not run.is_new]
        cancelled = [run.id for _, found in steps for run in found.cancelled]
        if replaced:
            db.execute(delete(self._runs).where(self._runs.c.id.in_(replaced), self._runs.c.state == READY))
        if made:
            db.execute(insert(self._runs), made)
        escaped = set()
        for run in claimed:
            claim = (
                update(self._runs)
                .where(self._runs.c.id == run.id, self._runs.c.state == READY)
                .values(state=RUNNING, session=session, instance=instance, slot=run.slot, token=run.token)
            )
            if not db.execute(claim).rowcount:
                escaped.add(run.id)
        if cancelled:
            db.execute(update(self._runs).where(self._runs.c.id.in_(cancelled)).values(cancelling=1))
        if left_out:
            over = [self._over(self._columns(run), "skipped", why, now) for run, why in left_out]
            db.execute(insert(self._history), over)
        changed = [
            {"b_name": row.name, "b_next": found.next_at, "b_until": found.decided_until, "b_token": found.token}
            for row, found in steps
            if (found.next_at, found.decided_until, found.token) != (row.next_at, row.decided_until, row.token)
        ]
        if changed:
            advance = (
                update(self._jobs)
                .where(self._jobs.c.namespace == self._namespace, self._jobs.c.name == bindparam("b_name"))
                .values(next_at=bindparam("b_next"), decided_until=bindparam("b_until"), token=bindparam("b_token"))
            )
            db.execute(advance, changed)
        return escaped

    def _next_at(self, db: Connection, jobs: Mapping[str, Job], now: int) -> int | None:
        """When something is due next; what waits for a place or a lock is found by looking again."""
        planned = select(func.min(self._jobs.c.next_at)).where(
            self._of_ours(self._jobs), self._jobs.c.paused == 0, self._jobs.c.name.in_(list(jobs))
        )
        waiting = select(func.min(self._runs.c.not_before)).where(
            self._of_ours(self._runs),
            self._runs.c.state == READY,
            self._runs.c.not_before > now,
            self._runs.c.job.in_(list(jobs)),
        )
        found = [at for at in (db.execute(planned).scalar(), db.execute(waiting).scalar()) if at is not None]
        return min(found, default=None)

    # -- finish

    def finish(self, db: Connection, finishes: Iterable[Finish], *, session: str) -> frozenset[str]:
        """Write down how attempts ended.

        Returns:
            The runs of which it was refused: somebody else has them, or has had them.
        """
        now = self.now(db)
        return frozenset(one.id for one in finishes if not self._finish(db, one, session, now))

    def _finish(self, db: Connection, finish: Finish, session: str, now: int) -> bool:
        is_ours = and_(
            self._runs.c.id == finish.id,
            self._runs.c.token == finish.token,
            self._runs.c.session == session,
            self._runs.c.state == RUNNING,
        )
        if finish.floor:
            self._lift(db, is_ours, finish.floor)
        if finish.outcome in ("again", "given_back"):
            failures = self._runs.c.failures + int(finish.outcome == "again")
            again = self._ready(now + round(finish.pause * _SECOND), failures=failures, error=_short(finish.error))
            if db.execute(update(self._runs).where(is_ours, self._runs.c.cancelling == 0).values(again)).rowcount:
                return True
            finish = Finish(finish.id, finish.token, "cancelled", finish.error)  # it was to end, and has
        row = db.execute(delete(self._runs).where(is_ours).returning(*self._shared())).one_or_none()
        if row is not None:
            db.execute(insert(self._history).values(self._over(dict(row._mapping), finish.outcome, finish.error, now)))
            return True
        landed = select(self._history.c.id).where(  # an answer that was lost
            self._history.c.id == finish.id, self._history.c.token == finish.token
        )
        return db.execute(landed).first() is not None

    def _lift(self, db: Connection, is_ours: Any, floor: int) -> None:
        """A fence has seen a higher token than the job has given, as after a restore: the next ones are above it."""
        job = select(self._runs.c.job).where(is_ours).scalar_subquery()
        db.execute(
            update(self._jobs)
            .where(self._of_ours(self._jobs), self._jobs.c.name == job, self._jobs.c.token < floor)
            .values(token=floor)
        )

    def _ready(self, not_before: int, **others: Any) -> dict[str, Any]:
        """What becomes of a run whose attempt is over, and which is not: it has no place until it begins again."""
        return {
            "state": READY,
            "session": None,
            "slot": None,
            "attempt": self._runs.c.attempt + 1,
            "not_before": not_before,
            **others,
        }

    def checkpoint(self, db: Connection, run_id: str, *, job: str, token: int, session: str, value: str) -> bool:
        """Keep a value for this job's later attempts and runs; whether the run is still that executor's."""
        is_ours = exists().where(
            self._runs.c.id == run_id,
            self._runs.c.token == token,
            self._runs.c.session == session,
            self._runs.c.state == RUNNING,
        )
        kept = update(self._jobs).where(self._of_ours(self._jobs), self._jobs.c.name == job, is_ours)
        return bool(db.execute(kept.values(checkpoint=value)).rowcount)

    # -- recover

    def sessions(self, db: Connection) -> list[str]:
        """The sessions that executors claim runs under."""
        named = select(self._runs.c.session).where(self._of_ours(self._runs), self._runs.c.session.is_not(None))
        return list(db.execute(named.distinct()).scalars())

    def recover(self, db: Connection, session: str, *, but: Collection[str] = ()) -> int:
        """Let others go on with what a session has claimed, which is over.

        The token is invalid with that: a claim gives the next one. The place is kept until then, because the old body
        might still act under it. What has lost its executor too often is a dead letter.

        Args:
            db: The transaction.
            session: The session.
            but: Runs that it does go on with.

        Returns:
            How many runs.
        """
        now = self.now(db)
        claimed = self._select_runs(self._runs.c.session == session, self._runs.c.state == RUNNING)
        lost = [row for row in db.execute(claimed.with_for_update()) if row.id not in but]
        for row in lost:
            is_it = and_(self._runs.c.id == row.id, self._runs.c.token == row.token, self._runs.c.session == session)
            if row.losses + 1 > _MOST_LOSSES or row.cancelling:
                db.execute(delete(self._runs).where(is_it))
                outcome = "cancelled" if row.cancelling else "dead"
                why = f"its executor was lost {row.losses + 1} times, the last time on {row.instance}"
                columns = {column.name: row._mapping[column.name] for column in self._shared()}
                db.execute(insert(self._history).values(self._over(columns, outcome, why, now)))
            else:
                again = self._ready(now, slot=row.slot, losses=row.losses + 1)
                db.execute(update(self._runs).where(is_it).values(again))
        return len(lost)

    def purge(self, db: Connection) -> None:
        """Let go of what was over long ago, in slices; dead letters stay."""
        now = self.now(db)
        for outcome, days in _KEPT.items():
            old = (
                select(self._history.c.id)
                .where(
                    self._of_ours(self._history),
                    self._history.c.outcome == outcome,
                    self._history.c.finished_at < now - days * _DAY,
                )
                .limit(1000)
            )
            ids = list(db.execute(old).scalars())
            if ids:
                db.execute(delete(self._history).where(self._history.c.id.in_(ids)))

    # -- what people ask for

    def run_now(self, db: Connection, job: str, *, nonce: str | None, params: str | None, default: str) -> str:
        """Have a job run as soon as there is a place for it.

        Args:
            db: The transaction.
            job: Its name.
            nonce: Whoever asks again with the same one is given the same run.
            params: As JSON; `None` for the job's own.
            default: The job's own, as JSON.

        Returns:
            The run's id.
        """
        self._lock(db, job)
        name = MANUAL + (check_name(nonce, what="a nonce") if nonce else random_id())
        for table in (self._runs, self._history):
            known = select(table.c.id).where(self._of_ours(table), table.c.job == job, table.c.nonce == name)
            found = db.execute(known).scalar()
            if found is not None:
                return str(found)
        return self._insert_asked(db, job, self.now(db), name, default if params is None else params)

    def backfill(self, db: Connection, job: str, times: Iterable[tuple[int, str]]) -> int:
        """Make runs for times that have passed, each with its parameters; those that were made before are not again.

        Returns:
            How many are new.
        """
        self._lock(db, job)
        known: set[int] = set()
        for table in (self._runs, self._history):
            made = select(table.c.fire_at).where(self._of_ours(table), table.c.job == job, table.c.nonce == BACKFILL)
            known.update(db.execute(made).scalars())
        new = [one for one in times if one[0] not in known]
        for fire_at, params in new:
            self._insert_asked(db, job, fire_at, BACKFILL, params)
        return len(new)

    def pause(self, db: Connection, job: str, *, reason: str, author: str) -> None:
        """Let a job's times pass until it is resumed; a run that goes, goes on."""
        self._lock(db, job)
        self._change(db, job, paused=1, pause_reason=reason, pause_author=author)

    def resume(self, db: Connection, job: str) -> None:
        """Go on from now; the times that have passed meanwhile are not made up for."""
        row = self._lock(db, job)
        if row.paused:
            planned = 0 if row.trigger_text else None
            self._change(
                db, job, paused=0, pause_reason="", pause_author="", next_at=planned, decided_until=self.now(db)
            )

    def cancel(self, db: Connection, run_id: str) -> None:
        """Have a run end: at once if it has not begun, else by its executor.

        Raises:
            UnknownJobError: There is no such run.
        """
        row = db.execute(
            delete(self._runs)
            .where(self._of_ours(self._runs), self._runs.c.id == run_id, self._runs.c.state == READY)
            .returning(*self._shared())
        ).one_or_none()
        if row is not None:
            over = self._over(dict(row._mapping), "cancelled", "cancelled before it began", self.now(db))
            db.execute(insert(self._history).values(over))
            return
        found = update(self._runs).where(self._of_ours(self._runs), self._runs.c.id == run_id).values(cancelling=1)
        if not db.execute(found).rowcount:
            raise UnknownJobError(f"run {run_id}", self._store)

    def redrive(self, db: Connection, run_id: str) -> None:
        """Have a dead letter tried again, from its first failure on.

        Raises:
            UnknownJobError: There is no such dead letter.
        """
        row = db.execute(
            delete(self._history)
            .where(self._of_ours(self._history), self._history.c.id == run_id, self._history.c.outcome == "dead")
            .returning(*(self._history.c[column.name] for column in self._shared()))
        ).one_or_none()
        if row is None:
            raise UnknownJobError(f"dead letter {run_id}", self._store)
        columns = {
            **row._mapping,
            "attempt": row.attempt + 1,
            "failures": 0,
            "losses": 0,
            "session": None,
            "slot": None,
        }
        db.execute(insert(self._runs).values({**columns, "state": READY, "not_before": self.now(db), "cancelling": 0}))

    # -- what is there, for people

    def jobs(self, db: Connection) -> Sequence[Row[Any]]:
        """All jobs, by name."""
        return db.execute(self._select_jobs().order_by(self._jobs.c.name)).all()

    def live(self, db: Connection, job: str | None = None) -> Sequence[Row[Any]]:
        """The runs that are not over, the oldest first."""
        mine = [] if job is None else [self._runs.c.job == job]
        return db.execute(self._select_runs(*mine).order_by(self._runs.c.fire_at)).all()

    def history(
        self, db: Connection, job: str | None = None, *, outcome: str | None = None, limit: int = 50
    ) -> Sequence[Row[Any]]:
        """The runs that are over, and the times that were left out, the newest first."""
        found = select(self._history).where(self._of_ours(self._history))
        if job is not None:
            found = found.where(self._history.c.job == job)
        if outcome is not None:
            found = found.where(self._history.c.outcome == outcome)
        return db.execute(found.order_by(self._history.c.finished_at.desc(), self._history.c.id).limit(limit)).all()

    # -- inside

    def _of_ours(self, table: Any) -> Any:
        return table.c.namespace == self._namespace

    def _select_jobs(self, *where: Any) -> Any:
        return select(self._jobs).where(self._of_ours(self._jobs), *where)

    def _select_runs(self, *where: Any) -> Any:
        return select(self._runs).where(self._of_ours(self._runs), *where)

    def _shared(self) -> list[Any]:
        """The columns that a run keeps when it is over."""
        return [column for column in self._runs.c if column.name in self._history.c]

    def _lock(self, db: Connection, job: str) -> Row[Any]:
        row: Row[Any] | None = db.execute(self._select_jobs(self._jobs.c.name == job).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJobError(f"job {job!r}", self._store)
        return row

    def _change(self, db: Connection, job: str, **values: Any) -> None:
        db.execute(update(self._jobs).where(self._of_ours(self._jobs), self._jobs.c.name == job).values(**values))

    def _live(self, db: Connection, jobs: list[str]) -> dict[str, list[LiveRun]]:
        found: dict[str, list[LiveRun]] = {}
        if jobs:
            for row in db.execute(self._select_runs(self._runs.c.job.in_(jobs))):
                found.setdefault(row.job, []).append(_run_of(row))
        return found

    def _columns(self, run: LiveRun) -> dict[str, Any]:
        return {
            "id": run.id,
            "namespace": self._namespace,
            "job": run.job,
            "fire_at": run.fire_at,
            "nonce": run.nonce,
            "attempt": run.attempt,
            "failures": run.failures,
            "losses": run.losses,
            "token": run.token,
            "instance": "",
            "params": run.params,
            "error": "",
            "state": run.state,
            "not_before": run.not_before,
            "session": None,
            "slot": run.slot,
            "cancelling": 0,
        }

    def _over(self, columns: dict[str, Any], outcome: str, error: str, now: int) -> dict[str, Any]:
        kept = {name: value for name, value in columns.items() if name in self._history.c}
        return {**kept, "error": _short(error), "outcome": outcome, "finished_at": now}

    def _insert_asked(self, db: Connection, job: str, fire_at: int, nonce: str, params: str) -> str:
        run = LiveRun(random_id(), job, fire_at, nonce, READY, 1, 0, 0, 0, self.now(db), None, params)
        db.execute(insert(self._runs).values(self._columns(run)))
        return run.id


def _job_of(row: Row[Any]) -> JobRow:
    return JobRow(
        row.name, row.trigger_text, row.next_at, row.decided_until, row.token, bool(row.paused), row.checkpoint
    )


def _run_of(row: Row[Any]) -> LiveRun:
    return LiveRun(
        row.id,
        row.job,
        row.fire_at,
        row.nonce,
        row.state,
        row.attempt,
        row.failures,
        row.losses,
        row.token,
        row.not_before,
        row.slot,
        row.params,
    )


def _short(error: str) -> str:
    return error if len(error) <= _LONGEST_ERROR else error[: _LONGEST_ERROR - 1] + "…"
