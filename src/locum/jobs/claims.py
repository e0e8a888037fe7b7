"""Claims in the job database: what is due is decided, made, claimed and planned on in one transaction.

It holds the rows of the jobs that it decides about; whoever finds one locked passes it over, and comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update

from locum.jobs.rows import job_of, run_of
from locum.jobs.slices import Slices
from locum.jobs.steps import READY, RUNNING, step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from locum.jobs.job import Job
    from locum.jobs.steps import JobRow, LiveRun, Step

__all__ = ["Claims", "Taken"]

_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look has brought.

    Attributes:
        runs: Those that begin here, under a token each; and the checkpoint of each one's job, or of the slice.
        cancelling: The runs of this session that are to end, each with its token.
        now: The database's time, in microseconds.
        next_at: When something is due next, as far as it is known; `None` if nothing is.
        has_moved: Whether anything was decided.
        is_full: Whether there may be more at once.
    """

    runs: tuple[tuple[LiveRun, str | None], ...]
    cancelling: frozenset[tuple[str, int]]
    now: int
    next_at: int | None
    has_moved: bool
    is_full: bool


class Claims(Slices):
    """How runs come to be, and whose they are."""

    def take(self, db: Connection, jobs: Mapping[str, Job], *, session: str, instance: str, room: int) -> Taken:
        """Decide what is due, make its runs, claim as many as there is room for, plan the next time: all at once."""
        now = self.now(db)
        rows = self._lock_due(db, jobs, now, room)
        live = self._live_of(db, [row.name for row in rows], now, room)
        begun: list[tuple[LiveRun, str | None]] = []
        steps: list[tuple[JobRow, Step]] = []
        for row in rows:
            found = step(jobs[row.name], row, live.get(row.name, ()), now=now, room=room - len(begun))
            begun += [(run, row.checkpoint if run.parent is None else run.checkpoint) for run in found.begun]
            steps.append((row, found))
        escaped = self._write(db, steps, session=session, instance=instance, now=now)
        mine = select(self._runs.c.id, self._runs.c.token).where(
            self._of_ours(self._runs), self._runs.c.session == session, self._runs.c.cancelling == 1
        )
        has_moved = any(found.changes(row) for row, found in steps)
        return Taken(
            tuple(one for one in begun if one[0].id not in escaped),
            frozenset((row.id, row.token) for row in db.execute(mine)),
            now,
            self._next_at(db, jobs, now),
            has_moved=has_moved,
            is_full=has_moved and len(rows) == _BATCH,
        )

    # -- inside

    def _is_planned(self, jobs: Mapping[str, Job]) -> Any:
        """Whether a job has times here; a trigger that nobody here has is another release's, which fires by it."""
        known = sorted({job.trigger_text for job in jobs.values()})
        return and_(self._jobs.c.paused == 0, self._jobs.c.trigger_text.in_(known))

    def _waits(self, now: int) -> Any:
        """Runs of a job that could begin: a place is free for them, or is theirs."""
        busy = self._runs.alias("busy")
        taken = (
            select(func.count())
            .where(
                busy.c.namespace == self._namespace,
                busy.c.job == self._jobs.c.name,
                busy.c.slot.is_not(None),
                busy.c.parent.is_(None),
            )
            .correlate(self._jobs)
            .scalar_subquery()
        )
        return and_(
            self._of_ours(self._runs),
            self._runs.c.job == self._jobs.c.name,
            self._runs.c.state == READY,
            self._runs.c.not_before <= now,
            or_(self._runs.c.slot.is_not(None), taken < self._jobs.c.places),
        )

    def _lock_due(self, db: Connection, jobs: Mapping[str, Job], now: int, room: int) -> list[JobRow]:
        """The jobs about which there is something to decide, who has waited longest first: nobody waits for ever."""
        mine = and_(self._of_ours(self._jobs), self._jobs.c.name.in_(list(jobs)))
        is_due = and_(self._is_planned(jobs), self._jobs.c.next_at <= now)
        since: Any = self._jobs.c.next_at
        if room:
            waits = self._waits(now)
            is_due = or_(is_due, exists().where(waits).correlate(self._jobs))
            oldest = select(func.min(self._runs.c.not_before)).where(waits).correlate(self._jobs).scalar_subquery()
            since = func.coalesce(oldest, since)
        chosen = self._select_jobs(mine, is_due).order_by(since).limit(_BATCH)
        return [job_of(row) for row in db.execute(chosen.with_for_update(skip_locked=True, of=self._jobs))]

    def _live_of(self, db: Connection, jobs: list[str], now: int, room: int) -> dict[str, list[LiveRun]]:
        """All runs of these jobs that are not over, and as many slices that wait as there is room for."""
        found: dict[str, list[LiveRun]] = {}
        if not jobs:
            return found
        theirs = self._runs.c.job.in_(jobs)
        slices = self._select_runs(
            theirs, self._runs.c.parent.is_not(None), self._runs.c.state == READY, self._runs.c.not_before <= now
        )
        rows = list(db.execute(self._select_runs(theirs, self._runs.c.parent.is_(None))))
        if room:
            rows += db.execute(slices.order_by(self._runs.c.fire_at, self._runs.c.part).limit(room))
        for row in rows:
            found.setdefault(row.job, []).append(run_of(row))
        return found

    def _write(
        self, db: Connection, steps: Sequence[tuple[JobRow, Step]], *, session: str, instance: str, now: int
    ) -> set[str]:
        """Write what was decided; the runs that cannot begin, for somebody has just cancelled them."""
        self._leave_out(db, [one for _, found in steps for one in found.left_out], now)
        begun = {run.id for _, found in steps for run in found.begun}
        made = [self._columns(run) for _, found in steps for run in found.made]
        for columns in made:
            is_begun = columns["id"] in begun
            columns.update(session=session if is_begun else None, instance=instance if is_begun else "")
        if made:
            db.execute(insert(self._runs), made)
        cancelled = [run.id for _, found in steps for run in found.cancelled]
        if cancelled:
            self._cancel(db, cancelled, now)
        self._plan(db, steps)
        waiting = [run for _, found in steps for run in found.begun if not run.is_new]
        return self._claim(db, waiting, session=session, instance=instance)

    def _leave_out(self, db: Connection, left_out: Sequence[tuple[LiveRun, str]], now: int) -> None:
        """Record what does not begin; what somebody has cancelled at this moment is recorded as that."""
        waited = [run.id for run, _ in left_out if not run.is_new]
        there: set[str] = set()
        if waited:
            dropped = delete(self._runs).where(self._runs.c.id.in_(waited), self._runs.c.state == READY)
            there = set(db.execute(dropped.returning(self._runs.c.id)).scalars())
        over = [
            self._over(self._columns(run), "skipped", why, now)
            for run, why in left_out
            if run.is_new or run.id in there
        ]
        if over:
            db.execute(insert(self._history), over)

    def _claim(self, db: Connection, waiting: Sequence[LiveRun], *, session: str, instance: str) -> set[str]:
        """Claim runs that have waited; those that are not there any more."""
        if not waiting:
            return set()
        wanted = {run.id: run for run in waiting}
        still = select(self._runs.c.id).where(self._runs.c.id.in_(sorted(wanted)), self._runs.c.state == READY)
        there = list(db.execute(still.order_by(self._runs.c.id).with_for_update()).scalars())
        claim = (
            update(self._runs)
            .where(self._runs.c.id == bindparam("b_id"))
            .values(
                state=RUNNING, session=session, instance=instance, slot=bindparam("b_slot"), token=bindparam("b_token")
            )
        )
        if there:
            db.execute(claim, [{"b_id": id, "b_slot": wanted[id].slot, "b_token": wanted[id].token} for id in there])
        return wanted.keys() - set(there)

    def _plan(self, db: Connection, steps: Sequence[tuple[JobRow, Step]]) -> None:
        changed = [
            {"b_name": row.name, "b_next": found.next_at, "b_until": found.decided_until, "b_token": found.token}
            for row, found in steps
            if found.plans(row)
        ]
        if changed:
            advance = (
                update(self._jobs)
                .where(self._jobs.c.namespace == self._namespace, self._jobs.c.name == bindparam("b_name"))
                .values(next_at=bindparam("b_next"), decided_until=bindparam("b_until"), token=bindparam("b_token"))
            )
            db.execute(advance, changed)

    def _next_at(self, db: Connection, jobs: Mapping[str, Job], now: int) -> int | None:
        """When something is due next; what waits for a place or a lock is found by looking again."""
        names = list(jobs)
        planned = select(func.min(self._jobs.c.next_at)).where(
            self._of_ours(self._jobs), self._jobs.c.name.in_(names), self._is_planned(jobs)
        )
        waiting = select(func.min(self._runs.c.not_before)).where(
            self._of_ours(self._runs),
            self._runs.c.state == READY,
            self._runs.c.not_before > now,
            self._runs.c.job.in_(names),
        )
        found = [at for at in (db.execute(planned).scalar(), db.execute(waiting).scalar()) if at is not None]
        return min(found, default=None)
