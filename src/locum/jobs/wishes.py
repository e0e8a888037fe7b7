"""What people ask of the job database: runs, a pause, an end; and what there is to see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, or_, select, update

from locum.errors import ConfigurationError, UnknownJobError
from locum.jobs.slices import Slices
from locum.jobs.steps import CUT, READY, RUNNING, LiveRun
from locum.names import check_name, random_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

__all__ = ["BACKFILL", "MANUAL", "Wishes"]

BACKFILL: Final = "backfill"
MANUAL: Final = "manual/"
_OF_RUNS: Final = "`locum jobs show` has those that wait or run; it may be over, as `locum jobs history` tells"


class Wishes(Slices):
    """What is done because somebody has asked for it."""

    def run_now(
        self, db: Connection, job: str, *, nonce: str | None, params: str, limit: Mapping[str, Any] | None = None
    ) -> str:
        """Have a job run as soon as there is a place for it.

        Args:
            db: The transaction.
            job: Its name.
            nonce: Whoever asks again with the same one is given the same run.
            params: As JSON.
            limit: What it shares a limit by, as columns.

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
        run = self._asked(job, self.now(db), name, params, limit)
        self.wake(db)
        self._insert_runs.say(db, [self._columns(run)])
        return run.id

    def backfill(self, db: Connection, job: str, times: Iterable[tuple[Any, ...]]) -> int:
        """Make runs for times that have passed, each with its parameters and what it shares a limit by, as columns.

        Those that were made before are not made again.

        Args:
            db: The transaction.
            job: Its name.
            times: Each time, its parameters as JSON and, where there is such, what its run shares a limit by.

        Returns:
            How many are new.
        """
        self._lock(db, job)
        wanted = {fire_at: given for fire_at, *given in times}
        if not wanted:
            return 0
        for table in (self._runs, self._history):
            made = select(table.c.fire_at).where(
                self._of_ours(table),
                table.c.job == job,
                table.c.nonce == BACKFILL,
                table.c.fire_at.between(min(wanted), max(wanted)),
            )
            for fire_at in db.execute(made).scalars().all():
                wanted.pop(fire_at, None)
            if not wanted:
                return 0
        now = self.now(db)
        runs = [self._asked(job, fire_at, BACKFILL, *given, not_before=now) for fire_at, given in wanted.items()]
        self.wake(db)
        self._insert_runs.say(db, [self._columns(run) for run in runs])
        return len(runs)

    def pause(self, db: Connection, job: str, *, reason: str, author: str) -> None:
        """Let a job's times pass until it is resumed; a run that goes, goes on."""
        self._lock(db, job)
        self._change(db, job, paused=1, pause_reason=reason, pause_author=author)

    def resume(self, db: Connection, job: str) -> None:
        """Go on from now; the times that have passed meanwhile are not made up for."""
        row = self._lock(db, job)
        if row.paused:
            planned = 0 if row.trigger_text else None
            # never back: a clock that was set back meanwhile would have it decide what it has decided
            until = max(row.decided_until, self.now(db))
            self.wake(db)
            self._change(db, job, paused=0, pause_reason="", pause_author="", next_at=planned, decided_until=until)

    def cancel(self, db: Connection, run_id: str) -> None:
        """Have a run end: at once if it has not begun, else by its executor.

        Raises:
            UnknownJobError: There is no such run.
        """
        now = self.now(db)
        row = db.execute(self._select_runs(self._runs.c.id == run_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJobError(f"run {run_id}", self._store, advice=_OF_RUNS)
        if row.state != READY:
            self._cancel(db, [run_id], now)
            return
        self._end(db, [self._over(run_id, "cancelled", "cancelled before it began", now)])
        self._conclude(db, [row.parent] if row.parent else [], now)

    def redrive(self, db: Connection, run_id: str) -> None:
        """Have a dead letter tried again, from its first failure on; a slice whose run is over, with its run.

        Raises:
            UnknownJobError: There is no such dead letter.
        """
        row = self._dead_letter(db, run_id)
        whole = db.execute(self._select_runs(self._runs.c.id == row.parent)).one_or_none() if row.parent else None
        if row.parent and whole is None:
            row = self._dead_letter(db, row.parent)
        # a run is cut anew, with those slices that have not succeeded
        gone = (self._history.c.id == row.id) | (
            (self._history.c.parent == row.id) & (self._history.c.outcome != "succeeded")
        )
        db.execute(delete(self._history).where(gone))
        columns = {name: row._mapping.get(name) for name in self._runs.c.keys()}  # noqa: SIM118 - of a collection of columns
        columns |= {"state": READY, "attempt": row.attempt + 1, "failures": 0, "losses": 0, "cancelling": 0}
        columns |= {"not_before": self.now(db), "slot": None if whole is None else whole.slot}
        columns |= {"parts": None, "completes": None} if whole is None else {}
        self.wake(db)
        self._insert_runs.say(db, [columns])

    def discard(self, db: Connection, run_id: str) -> None:
        """Let go of a dead letter, with its slices: it counts as cancelled from now on, with what it failed with.

        A run of which a slice was let go has not succeeded for that.

        Raises:
            UnknownJobError: There is no such dead letter.
        """
        row = self._dead_letter(db, run_id)
        mine = or_(self._history.c.id == row.id, self._history.c.parent == row.id)
        dead = update(self._history).where(self._of_ours(self._history), mine, self._history.c.outcome == "dead")
        db.execute(dead.values(outcome="cancelled", finished_at=self.now(db)))

    def remove(self, db: Connection, job: str) -> None:
        """Let go of a job that no instance declares any more, with what waits of it; its history stays.

        The floor of tokens is raised first: a job of that name that is declared later gives none that was given before.

        Raises:
            UnknownJobError: There is no such job.
            ConfigurationError: An instance declares it, or runs of it go on.
        """
        row = self._lock(db, job)
        declared = self.declared_by(db).get(job)
        if declared:
            raise ConfigurationError(
                f"the job {job} is declared by {', '.join(declared)}: it would come back. Take it out of the program,"
                " or pause it"
            )
        runs = db.execute(self._select_runs(self._runs.c.job == job).order_by(self._runs.c.id).with_for_update()).all()
        if any(run.state == RUNNING for run in runs):
            raise ConfigurationError(f"a run of the job {job} goes on: cancel it first, or wait for its end")
        floors = self._tables.floors
        db.execute(self._insert_unknown(db, floors), [{"namespace": self._namespace, "token": 0}])
        raised = update(floors).where(self._of_ours(floors), floors.c.token < row.token).values(token=row.token)
        db.execute(raised)
        if runs:
            now = self.now(db)
            self._end(db, [self._over(run.id, "cancelled", "its job was removed", now) for run in runs])
        db.execute(delete(self._runs).where(self._of_ours(self._runs), self._runs.c.job == job))  # come meanwhile
        db.execute(delete(self._jobs).where(self._of_ours(self._jobs), self._jobs.c.name == job))

    def declared_by(self, db: Connection) -> dict[str, list[str]]:
        """The instances that have declared each job, as far as none is known to be gone."""
        rosters = self._tables.rosters
        found: dict[str, list[str]] = {}
        for row in db.execute(select(rosters.c.instance, rosters.c.names).where(self._of_ours(rosters))):
            for name in json.loads(row.names):
                found.setdefault(name, []).append(row.instance)
        return found

    def _dead_letter(self, db: Connection, run_id: str) -> Row[Any]:
        is_it = (self._of_ours(self._history), self._history.c.id == run_id, self._history.c.outcome == "dead")
        job = db.execute(select(self._history.c.job).where(*is_it)).scalar()
        if job is not None:
            self._lock(db, job)  # whoever asks for the same run looks in two places
            row = db.execute(select(self._history).where(*is_it)).one_or_none()
            if row is not None:
                return row
        raise UnknownJobError(f"dead letter {run_id}", self._store, advice="look at `locum jobs dead`")

    # -- what is there, for people

    def jobs(self, db: Connection) -> Sequence[Row[Any]]:
        """All jobs, by name."""
        return db.execute(self._select_jobs().order_by(self._jobs.c.name)).all()

    def live(self, db: Connection, job: str | None = None, *, run: str | None = None) -> Sequence[Row[Any]]:
        """The runs that are not over, the oldest first."""
        mine = [] if job is None else [self._runs.c.job == job]
        mine += [] if run is None else [self._runs.c.id == run]
        return db.execute(self._select_runs(*mine).order_by(self._runs.c.fire_at)).all()

    def under_way(
        self, db: Connection, job: str | None, *, run: str | None = None, slices: bool
    ) -> tuple[Sequence[Row[Any]], dict[str, tuple[int, int]], dict[tuple[str, int], str], int]:
        """The runs that are not over, how many slices of each are, what their bodies have said, the database's time."""
        rows = [row for row in self.live(db, job, run=run) if slices or row.parent is None]
        cut = [row.id for row in rows if row.state == CUT]
        told = select(self._tables.progress).where(self._of_ours(self._tables.progress))
        said = {(row.run, row.token): row.said for row in db.execute(told)}
        return rows, self.over_of(db, cut) if cut else {}, said, self.now(db)

    def history(
        self,
        db: Connection,
        job: str | None = None,
        *,
        run: str | None = None,
        outcome: str | None = None,
        limit: int = 50,
        slices: bool = False,
    ) -> Sequence[Row[Any]]:
        """The runs that are over, and the times that were left out, the newest first; with slices if wanted."""
        found = select(self._history).where(self._of_ours(self._history))
        if run is not None:
            found = found.where(self._history.c.id == run)
        if not slices:
            found = found.where(self._history.c.parent.is_(None))
        if job is not None:
            found = found.where(self._history.c.job == job)
        if outcome is not None:
            found = found.where(self._history.c.outcome == outcome)
        return db.execute(found.order_by(self._history.c.finished_at.desc(), self._history.c.id).limit(limit)).all()

    # -- inside

    @staticmethod
    def _asked(
        job: str,
        fire_at: int,
        nonce: str,
        params: str,
        limit: Mapping[str, Any] | None = None,
        *,
        not_before: int | None = None,
    ) -> LiveRun:
        begins = fire_at if not_before is None else not_before
        return LiveRun.waiting(job, fire_at, nonce=nonce, not_before=begins, params=params, **(limit or {}))
