"""Claims in the job database: what is due is decided, made, claimed and planned on in one transaction.

It holds the rows of the jobs that it decides about; whoever finds one locked passes it over, and comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)

from locum.errors import ScheduleError
from locum.jobs.elsewhere import LINE, Elsewhere
from locum.jobs.rows import job_of, run_of
from locum.jobs.slices import Slices
from locum.jobs.steps import CUT, READY, RUNNING, step
from locum.jobs.tables import micros_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from locum.jobs.job import Job
    from locum.jobs.steps import JobRow, LiveRun, Step
    from locum.jobs.tables import Tables

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
        has_claims: Whether anybody may have claimed a run.
    """

    runs: tuple[tuple[LiveRun, str | None], ...]
    cancelling: frozenset[tuple[str, int]]
    now: int
    next_at: int | None
    has_moved: bool
    is_full: bool
    has_claims: bool = True


class Claims(Slices):
    """How runs come to be, and whose they are."""

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        super().__init__(tables, namespace, store)
        self._elsewhere = Elsewhere()

    def take(self, db: Connection, jobs: Mapping[str, Job], *, session: str, instance: str, room: int) -> Taken:
        """Decide what is due, make its runs, claim as many as there is room for, plan the next time: all at once."""
        now = self.now(db)
        self._elsewhere.forget(jobs)
        known = len(self._elsewhere)
        rows, is_full = self._lock_due(db, jobs, now, room)
        live = self._live_of(db, [row.name for row in rows], now, room)
        _give_keys(jobs, live)
        keys = self._lock_keys(db, live)
        begun: list[tuple[LiveRun, str | None]] = []
        steps: list[tuple[JobRow, Step]] = []
        for row in rows:
            found = step(jobs[row.name], row, live.get(row.name, ()), now=now, room=room - len(begun), keys=keys)
            begun += [(run, row.checkpoint if run.parent is None else run.checkpoint) for run in found.begun]
            steps.append((row, found))
        escaped = self._write(db, steps, session=session, instance=instance, now=now)
        cancelling, next_at = self._to_come(db, session, now)
        has_moved = any(found.changes(row) for row, found in steps) or len(self._elsewhere) != known
        if _is_held_up(live, steps, keys):
            next_at = now
        return Taken(
            tuple(one for one in begun if one[0].id not in escaped),
            cancelling,
            now,
            next_at,
            has_moved=has_moved,
            is_full=has_moved and is_full,
        )

    def peek(self, db: Connection, *, session: str) -> Taken | None:
        """See by one question that there is nothing to do, and until when; `None` if there may be."""
        runs = self._runs
        ready = select(func.min(runs.c.not_before)).where(self._of_ours(runs), runs.c.state == READY)
        planned = select(func.min(self._jobs.c.next_at)).where(self._of_ours(self._jobs), self._is_planned())
        ending = select(func.count()).where(*self._is_to_end(session))
        claimed = select(func.count()).where(self._of_ours(runs), runs.c.session.is_not(None))
        asked = (micros_now(), *(one.scalar_subquery() for one in (ending, claimed, planned, ready)))
        now, is_to_end, claims, *times = db.execute(select(*asked)).one()
        next_at = min((at for at in times if at is not None), default=None)
        if is_to_end or (next_at is not None and next_at <= now):
            return None
        return Taken((), frozenset(), int(now), next_at, has_moved=False, is_full=False, has_claims=claims > 0)

    # -- inside

    def _is_to_end(self, session: str) -> tuple[Any, ...]:
        return self._of_ours(self._runs), self._runs.c.session == session, self._runs.c.cancelling == 1

    def _is_planned(self) -> Any:
        """Whether a job has times here; a trigger that nobody here has is another release's, which fires by it."""
        here = [self._jobs.c.paused == 0, self._is_known()]
        if self._elsewhere.triggers:
            here.append((self._jobs.c.name + LINE + self._jobs.c.trigger_text).not_in(list(self._elsewhere.triggers)))
        return and_(*here)

    def _is_known(self) -> Any:
        return self._jobs.c.name.not_in(list(self._elsewhere.names)) if self._elsewhere.names else true()

    def _lock_due(self, db: Connection, jobs: Mapping[str, Job], now: int, room: int) -> tuple[list[JobRow], bool]:
        """The jobs about which there is something to decide, who has waited longest first: nobody waits for ever.

        Which they are is asked of the small tables and of the index of times: it costs the same however many jobs there
        are, and their names are in no statement. What is not known here is noticed when it is due, and then left out.

        Returns:
            Them, and whether there may be more.
        """
        rows = list(db.execute(self._waiting(now))) if room else []
        due = self._select_jobs(self._is_planned(), self._jobs.c.next_at <= now)
        chosen = due.order_by(self._jobs.c.next_at).limit(_BATCH)
        planned = list(db.execute(chosen.with_for_update(skip_locked=True, of=self._jobs)))
        found: dict[str, JobRow] = {}
        for row in rows:
            if row.name in jobs:
                found[row.name] = job_of(row)
            else:
                self._elsewhere.add_name(row.name)
        for row in planned:
            if row.name not in jobs:
                self._elsewhere.add_name(row.name)
            elif jobs[row.name].trigger_text != row.trigger_text:
                self._elsewhere.add_trigger(row.name, row.trigger_text)
            else:
                found[row.name] = job_of(row)
        return list(found.values()), _BATCH in (len(rows), len(planned))

    def _waiting(self, now: int) -> Any:
        """Jobs of which a run could begin: a place is free for it, or is its own, and its key is not used up."""
        runs, busy = self._runs, self._runs.alias("busy")
        taken = (
            select(busy.c.job, func.count().label("many"))
            .where(self._of_ours(busy), busy.c.slot.is_not(None), busy.c.parent.is_(None))
            .group_by(busy.c.job)
            .subquery("taken")
        )
        used = self._used(busy).subquery("used")
        ready = (
            select(
                runs.c.job,
                func.min(runs.c.not_before).label("since"),
                func.max(case((runs.c.slot.is_not(None), 1), else_=0)).label("has_place"),
            )
            .select_from(runs.outerjoin(used, used.c.limit_key == runs.c.limit_key))
            .where(
                self._of_ours(runs),
                runs.c.state == READY,
                runs.c.not_before <= now,
                or_(
                    runs.c.limit_key.is_(None),
                    runs.c.slot.is_not(None),
                    func.coalesce(used.c.many, 0) < runs.c.key_places,
                ),
            )
            .group_by(runs.c.job)
            .subquery("ready")
        )
        return (
            self._select_jobs(
                self._is_known(), or_(ready.c.has_place == 1, func.coalesce(taken.c.many, 0) < self._jobs.c.places)
            )
            .select_from(
                self._jobs.join(ready, ready.c.job == self._jobs.c.name).outerjoin(
                    taken, taken.c.job == self._jobs.c.name
                )
            )
            .order_by(ready.c.since)
            .limit(_BATCH)
            .with_for_update(skip_locked=True, of=self._jobs)
        )

    def _used(self, runs: Any) -> Any:
        """How many whole runs have a place, by their key."""
        return (
            select(runs.c.limit_key, func.count().label("many"))
            .where(
                self._of_ours(runs), runs.c.limit_key.is_not(None), runs.c.slot.is_not(None), runs.c.parent.is_(None)
            )
            .group_by(runs.c.limit_key)
        )

    def _lock_keys(self, db: Connection, live: Mapping[str, Sequence[LiveRun]]) -> dict[str, int]:
        """How often each key that waiting runs have is used: those that nobody else looks at now.

        A key is looked at by one transaction at a time, whatever jobs its runs are of; a run whose key another has
        locked waits for the next look.
        """
        wanted = sorted({str(run.limit_key) for runs in live.values() for run in runs if run.waits_for_key})
        if not wanted:
            return {}
        table = self._tables.keys
        db.execute(self._insert_unknown(db, table), [{"namespace": self._namespace, "name": key} for key in wanted])
        mine = select(table.c.name).where(self._of_ours(table), self._among(db, table.c.name, wanted))
        locked = list(db.execute(mine.order_by(table.c.name).with_for_update(skip_locked=True)).scalars())
        used = {row.limit_key: row.many for row in db.execute(self._used(self._runs))} if locked else {}
        return {key: used.get(key, 0) for key in locked}

    def _live_of(self, db: Connection, jobs: list[str], now: int, room: int) -> dict[str, list[LiveRun]]:
        """All runs of these jobs that are not over, and as many slices that wait as there is room for."""
        found: dict[str, list[LiveRun]] = {}
        if not jobs:
            return found
        theirs = self._among(db, self._runs.c.job, jobs)
        rows = list(db.execute(self._select_runs(theirs, self._runs.c.parent.is_(None))))
        cut = sorted({row.job for row in rows if row.state == CUT})
        if room and cut:
            slices = self._select_runs(
                self._among(db, self._runs.c.job, cut),
                self._runs.c.parent.is_not(None),
                self._runs.c.state == READY,
                self._runs.c.not_before <= now,
            )
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
            still = select(self._runs.c.id).where(self._runs.c.id.in_(waited), self._runs.c.state == READY)
            there = set(db.execute(still.order_by(self._runs.c.id).with_for_update()).scalars())
            db.execute(delete(self._runs).where(self._runs.c.id.in_(sorted(there))))
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
                state=RUNNING,
                session=session,
                instance=instance,
                slot=bindparam("b_slot"),
                token=bindparam("b_token"),
                limit_key=bindparam("b_key"),
                key_places=bindparam("b_places"),
            )
        )
        if there:
            claimed = [wanted[id] for id in there]
            db.execute(
                claim,
                [
                    {
                        "b_id": run.id,
                        "b_slot": run.slot,
                        "b_token": run.token,
                        "b_key": run.limit_key,
                        "b_places": run.key_places,
                    }
                    for run in claimed
                ],
            )
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

    def _to_come(self, db: Connection, session: str, now: int) -> tuple[frozenset[tuple[str, int]], int | None]:
        """The runs of this session that are to end, and when something is due next.

        What waits for a place, a key or a lock is found by looking again.
        """
        nothing, runs = cast(null(), BigInteger), self._runs
        planned = select(literal("", String), nothing, func.min(self._jobs.c.next_at)).where(
            self._of_ours(self._jobs), self._is_planned()
        )
        waiting = select(literal("", String), nothing, func.min(runs.c.not_before)).where(
            self._of_ours(runs), runs.c.state == READY, runs.c.not_before > now
        )
        ending = select(runs.c.id, runs.c.token, nothing).where(*self._is_to_end(session))
        rows = [tuple(row) for row in db.execute(union_all(planned, waiting, ending))]
        times = [at for id, _, at in rows if not id and at is not None]
        return frozenset((id, token) for id, token, _ in rows if id), min(times, default=None)


def _give_keys(jobs: Mapping[str, Job], live: Mapping[str, Sequence[LiveRun]]) -> None:
    """What was asked for where the job is not known, or made by the last release, has no key yet."""
    for name, runs in live.items():
        if jobs[name].key is None:
            continue
        for run in runs:
            if run.limit_key is None and run.parent is None:
                try:
                    limit = jobs[name].limit_of(run.params, run.fire_at)
                except ScheduleError:
                    continue  # it has not the parameters that its job takes, and will be told so
                run.limit_key, run.key_places = limit["limit_key"], limit["key_places"]


def _is_held_up(
    live: Mapping[str, Sequence[LiveRun]], steps: Sequence[tuple[JobRow, Step]], keys: Mapping[str, int]
) -> bool:
    """Whether something waits for a key that others look at in this moment, or that has yet to be looked at."""
    runs = [run for runs in live.values() for run in runs] + [run for _, found in steps for run in found.made]
    return any(run.waits_for_key and run.limit_key not in keys for run in runs)
