"""Slices in the job database: a run that is cut has its place until all of them are over, and is judged by them.

A slice is a run of its own, which idle instances pull, with a token, attempts and a checkpoint of its own; its place is
that of its run. Whoever writes the end of the last one, writes in the same transaction what becomes of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, func, select, update

from locum.jobs.rows import Rows
from locum.jobs.steps import CUT, READY, RUNNING, LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from locum.jobs.finish import Finish
    from locum.jobs.job import Job

__all__ = ["Slices"]

AFTER: Final = "after/"


class Slices(Rows):
    """How runs are cut, and put together."""

    def _cut(self, db: Connection, run: Row[Any], finish: Finish, now: int) -> None:
        """Make the slices of a run; those that have succeeded before a redrive are not made again."""
        before = select(self._history.c.part).where(
            self._history.c.parent == run.id, self._history.c.outcome == "succeeded"
        )
        done = set(db.execute(before).scalars())
        many = len(finish.parts)
        made = [
            LiveRun.waiting(
                run.job,
                run.fire_at,
                nonce=f"{run.nonce}/{part}",
                not_before=now,
                params=params,
                slot=run.slot,
                parent=run.id,
                part=part,
                parts=many,
            )
            for part, params in enumerate(finish.parts)
            if part not in done
        ]
        if made:
            self._insert_runs.say(db, [self._columns(one) for one in made])
            self.wake(db)
        db.execute(
            update(self._runs)
            .where(self._runs.c.id == run.id)
            .values(state=CUT, session=None, parts=many, completes=int(finish.completes), not_before=now, error="")
        )

    def _conclude(
        self, db: Connection, parents: Iterable[str], now: int, jobs: Mapping[str, Job] | None = None
    ) -> None:
        """What becomes of runs of which slices have ended: nothing, unless these were the last.

        The run's row is locked before its slices are counted: of two who end the last two at once, the second counts
        none.
        """
        for parent in sorted(set(parents)):
            run = db.execute(
                self._select_runs(self._runs.c.id == parent, self._runs.c.state == CUT).with_for_update()
            ).one_or_none()
            left = select(func.count()).select_from(self._runs).where(self._runs.c.parent == parent)
            if run is None or db.execute(left).scalar_one():
                continue
            dead = self._lost_of(db, parent)
            if not run.cancelling and not dead and run.completes:
                self.wake(db)
                db.execute(update(self._runs).where(self._runs.c.id == parent).values(state=READY, not_before=now))
                continue
            outcome = "cancelled" if run.cancelling else "dead" if dead else "succeeded"
            why = f"{len(dead)} of {run.parts} slices have not succeeded, the first of them: {dead[0]}" if dead else ""
            self._end(db, [self._over(parent, outcome, why, now)])
            if outcome == "succeeded":
                self._follow(db, [run], now, jobs or {})

    def _follow(self, db: Connection, succeeded: Iterable[Row[Any]], now: int, jobs: Mapping[str, Job]) -> None:
        """Make the runs that follow on whole runs that have succeeded, in the transaction that says so."""
        following: dict[str, list[Job]] = {}
        for job in jobs.values():
            if job.after is not None:
                following.setdefault(job.after, []).append(job)
        made = [
            _following(job, run, now) for run in succeeded if run.parent is None for job in following.get(run.job, ())
        ]
        if made:
            self._insert_runs.say(db, [self._columns(one) for one in made])
            self.wake(db)

    def _lost_of(self, db: Connection, parent: str) -> Sequence[str]:
        """Why slices of a run have not succeeded: what they failed with for good, or that they were cancelled."""
        dead = select(self._history.c.error).where(
            self._history.c.parent == parent, self._history.c.outcome != "succeeded"
        )
        return db.execute(dead.order_by(self._history.c.part)).scalars().all()

    def _cancel(self, db: Connection, runs: Iterable[str], now: int) -> None:
        """Have runs end, with their slices: those that have not begun, at once; what runs, by its executor."""
        ids = sorted(set(runs))
        family = (self._runs.c.parent.in_(ids), self._runs.c.state == READY)
        waiting = db.execute(self._select_runs(*family).order_by(self._runs.c.id).with_for_update()).all()
        self._end(db, [self._over(row.id, "cancelled", "cancelled before it began", now) for row in waiting])
        self.wake(db)
        # the slices before their run, in the order in which who ends one locks them
        for going in (
            self._runs.c.parent.in_(ids) & (self._runs.c.state == RUNNING),
            self._runs.c.id.in_(ids) & self._runs.c.state.in_([RUNNING, CUT]),
        ):
            db.execute(update(self._runs).where(self._of_ours(self._runs), going).values(cancelling=1))
        self._conclude(db, ids, now)

    # -- to be seen

    def results(self, db: Connection, parent: str) -> list[str | None]:
        """What the slices of a run have returned, in their order."""
        found = select(self._history.c.result).where(
            self._history.c.parent == parent, self._history.c.outcome == "succeeded"
        )
        return list(db.execute(found.order_by(self._history.c.part)).scalars())

    def over_of(self, db: Connection, parents: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many slices of each of these runs are over, and how many of them were before it was cut the last time."""
        before = func.sum(case((self._history.c.finished_at < self._runs.c.not_before, 1), else_=0))
        counted = (
            select(self._history.c.parent, func.count().label("many"), before.label("before"))
            .join(self._runs, self._runs.c.id == self._history.c.parent)
            .where(self._history.c.parent.in_(parents))
            .group_by(self._history.c.parent)
        )
        return {row.parent: (row.many, int(row.before)) for row in db.execute(counted)}


def _following(job: Job, run: Row[Any], now: int) -> LiveRun:
    """The run of a job that follows on a run of another one, for the same time."""
    params = job.params_at(run.fire_at)
    return LiveRun.waiting(
        job.name,
        run.fire_at,
        nonce=f"{AFTER}{run.id}",
        not_before=now,
        params=params,
        **job.limit_of(params, run.fire_at),
    )
