"""Claims in the job database: what is due is decided, made, claimed and planned on in one transaction.

It holds the rows of the jobs that it decides about; whoever finds one locked passes it over, and comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Integer, String, update

from locum.errors import ScheduleError
from locum.jobs.begins import begin
from locum.jobs.elsewhere import Elsewhere
from locum.jobs.many import Many
from locum.jobs.questions import Questions
from locum.jobs.rows import SECOND, job_of, run_of
from locum.jobs.shares import kept_free
from locum.jobs.steps import CUT, READY, RUNNING, Unfinished, decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

    from locum.jobs.job import Job
    from locum.jobs.steps import JobRow, LiveRun, Step
    from locum.jobs.tables import Tables

__all__ = ["Claims", "Taken"]

_BATCH: Final = 200
_OF_A_CLAIM: Final[dict[str, TypeEngine[Any]]] = {
    "id": String(),
    "slot": Integer(),
    "token": BigInteger(),
    "session": String(),
    "instance": String(),
}
_OF_A_KEY: Final[dict[str, TypeEngine[Any]]] = {"id": String(), "limit_key": String(), "key_places": Integer()}
_OF_A_PLAN: Final[dict[str, TypeEngine[Any]]] = {
    "next_at": BigInteger(),
    "decided_until": BigInteger(),
    "token": BigInteger(),
}


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


class Claims(Questions):
    """How runs come to be, and whose they are."""

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        super().__init__(tables, namespace, store)
        self._elsewhere = Elsewhere()
        self._write_claims = Many(_OF_A_CLAIM, self._claimed_by)
        self._write_plans = self._changed(_OF_A_PLAN)
        self._write_keys = Many(_OF_A_KEY, self._keyed)

    def take(
        self,
        db: Connection,
        jobs: Mapping[str, Job],
        *,
        session: str,
        instance: str,
        room: int,
        patience: float = 0.0,
        going: Mapping[str, int] | None = None,
    ) -> Taken:
        """Decide what is due, make its runs, claim as many as there is room for, plan the next time: all at once.

        Args:
            db: The transaction.
            jobs: As they are declared here.
            session: Under which the runs are claimed.
            instance: Whose.
            room: How many runs may begin here.
            patience: Seconds for which what is due, and for which there is no room here, is left to whoever has some.
            going: How many runs of each job go here.
        """
        now, since = tuple(self._since_when_does_anything_wait.say(db).one())
        self._elsewhere.forget(jobs)
        known = len(self._elsewhere)
        could_begin = bool(room) and since is not None and since <= now
        rows, is_full = self._lock_due(db, jobs, now, room, round(patience * SECOND), could_begin=could_begin)
        live = self._live_of(db, jobs, [row.name for row in rows], now, room)
        has_given = self._give_keys(db, jobs, live)
        keys = self._lock_keys(db, live)
        steps = [(row, decide(jobs[row.name], row, live[row.name], now=now)) for row in rows]
        here = going or {}
        kept = kept_free(room + sum(here.values()), is_alone=len(jobs) == 1)
        deciding = [(jobs[row.name], found) for row, found in steps]
        begin(deciding, now=now, room=room, keys=keys, going=here, kept=kept)
        begun = [
            (run, row.checkpoint if run.parent is None else run.checkpoint)
            for row, found in steps
            for run in found.begun
        ]
        escaped = self._write(db, steps, session=session, instance=instance, now=now)
        cancelling, next_at = self._to_come(db, session, now)
        has_moved = has_given or any(found.changes(row) for row, found in steps) or len(self._elsewhere) != known
        if _is_held_up(live, steps, keys):
            next_at = now
        is_full = is_full or any(one.able > room for one in live.values())
        return Taken(
            tuple(one for one in begun if one[0].id not in escaped),
            cancelling,
            now,
            next_at,
            has_moved=has_moved,
            is_full=has_moved and is_full and len(begun) < room,
        )

    def peek(self, db: Connection, *, session: str, room: int = 1, patience: float = 0.0) -> Taken | None:
        """See by one question that there is nothing to do, and until when; `None` if there may be.

        Args:
            db: The transaction.
            session: Whose runs may be to end.
            room: How many runs may begin here: if none may, what waits is no reason.
            patience: Seconds for which what is due, and for which there is no room here, is left to whoever has some.
        """
        found = self._is_there_anything.say(db, session=session, **self._elsewhere.known)
        now, is_to_end, claims, planned, ready = tuple(found.one())
        times = [planned, ready] if room else [planned]
        next_at = min((at for at in times if at is not None), default=None)
        is_time = next_at is not None and next_at + (0 if room else patience * SECOND) <= now
        if is_to_end or is_time:
            return None
        return Taken((), frozenset(), int(now), next_at, has_moved=False, is_full=False, has_claims=claims > 0)

    # -- inside

    def _lock_due(
        self, db: Connection, jobs: Mapping[str, Job], now: int, room: int, patience: int, *, could_begin: bool
    ) -> tuple[list[JobRow], bool]:
        """The jobs about which there is something to decide, who has waited longest first: nobody waits for ever.

        The names of jobs are in no statement: what is not known here is noticed when it is due, and then left out.

        Returns:
            Them, and whether there may be more.
        """
        elsewhere = self._elsewhere.known
        rows = list(self._which_wait.say(db, now=now, most=_BATCH, names=elsewhere["names"])) if could_begin else []
        most = min(_BATCH, max(0, room - len(rows))) if patience else _BATCH
        planned = list(self._which_are_due.say(db, now=now, most=most, **elsewhere)) if most else []
        # who has no room decides only what has waited for others long enough
        if patience and len(planned) == most and (not planned or planned[-1].next_at <= now - patience):
            planned += self._which_are_due.say(db, now=now - patience, most=_BATCH, **elsewhere)
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
        return list(found.values()), len(rows) == _BATCH or len(planned) >= _BATCH

    def _live_of(
        self, db: Connection, jobs: Mapping[str, Job], names: Sequence[str], now: int, room: int
    ) -> dict[str, Unfinished]:
        """What is not over of these jobs, as far as it could begin; and as many slices as there is room for."""
        found = {name: Unfinished() for name in names}
        if not names:
            return found
        whole = [name for name in names if jobs[name].overlap.replaces]
        # one at least of what waits, which tells how many there are
        for row in self._which_are_live.say(db, now=now, most=max(1, room), jobs=names, whole=whole):
            one = found[row.job]
            one.runs.append(run_of(row))
            if row.state == READY:
                one.able, one.scheduled = row.able, row.scheduled
        cut = [name for name, one in found.items() if any(run.state == CUT for run in one.runs)]
        if room and cut:
            for row in self._which_slices_wait.say(db, now=now, most=room, jobs=cut):
                found[row.job].runs.append(run_of(row))
        return found

    def _give_keys(self, db: Connection, jobs: Mapping[str, Job], live: Mapping[str, Unfinished]) -> bool:
        """What was asked for where the job is not known, or made by the last release, has no key yet.

        Returns:
            Whether there was such.
        """
        given: list[dict[str, Any]] = []
        for name, one in live.items():
            for run in one.runs if jobs[name].key is not None else ():
                if run.limit_key is None and run.parent is None and run.state == READY:
                    try:
                        limit = jobs[name].limit_of(run.params, run.fire_at)
                    except ScheduleError:
                        continue  # it has not the parameters that its job takes, and will be told so
                    run.limit_key, run.key_places = limit["limit_key"], limit["key_places"]
                    given.append({"id": run.id, **limit})
        self._write_keys.say(db, sorted(given, key=lambda row: row["id"]))
        return bool(given)

    def _keyed(self, one: Any) -> Any:
        keyed = update(self._runs).where(self._runs.c.id == one("id"), self._runs.c.state == READY)
        return keyed.values(limit_key=one("limit_key"), key_places=one("key_places"))

    def _lock_keys(self, db: Connection, live: Mapping[str, Unfinished]) -> dict[str, int]:
        """How often each key that waiting runs have is used: those that nobody else looks at now.

        A key is looked at by one transaction at a time, whatever jobs its runs are of; a run whose key another has
        locked waits for the next look.
        """
        wanted = sorted({str(run.limit_key) for one in live.values() for run in one.runs if run.waits_for_key})
        if not wanted:
            return {}
        db.execute(
            self._insert_unknown(db, self._tables.keys),
            [{"namespace": self._namespace, "name": key} for key in wanted],
        )
        locked = list(self._which_keys_are_free.say(db, names=wanted).scalars())
        used = {row.limit_key: row.many for row in self._how_used_are_keys.say(db)} if locked else {}
        return {key: used.get(key, 0) for key in locked}

    def _write(
        self, db: Connection, steps: Sequence[tuple[JobRow, Step]], *, session: str, instance: str, now: int
    ) -> set[str]:
        """Write what was decided; the runs that cannot begin, for somebody has just cancelled them."""
        self._leave_out(db, [one for _, found in steps for one in found.left_out], now)
        begun = {run.id for _, found in steps for run in found.begun}
        made = [self._columns(run) for _, found in steps for run in found.made]
        for columns in made:
            if columns["id"] in begun:
                columns.update(session=session, instance=instance)
        self._insert_runs.say(db, made)
        cancelled = [run.id for _, found in steps for run in found.cancelled]
        if cancelled:
            self._cancel(db, cancelled, now)
        plans = [(row.name, found) for row, found in steps if found.plans(row)]
        self._write_plans.say(
            db,
            [
                {"name": name, "next_at": one.next_at, "decided_until": one.decided_until, "token": one.token}
                for name, one in plans
            ],
        )
        waiting = [run for _, found in steps for run in found.begun if not run.is_new]
        return self._claim(db, waiting, session=session, instance=instance)

    def _leave_out(self, db: Connection, left_out: Sequence[tuple[LiveRun, str]], now: int) -> None:
        """Record what does not begin; what somebody has cancelled at this moment is recorded as that."""
        there = self._still_there(db, [run for run, _ in left_out if not run.is_new])
        self._end(db, [self._over(run.id, "skipped", why, now) for run, why in left_out if run.id in there])
        never = [
            {**self._columns(run), **self._over(run.id, "skipped", why, now)} for run, why in left_out if run.is_new
        ]
        self._insert_history.say(db, never)

    def _claim(self, db: Connection, waiting: Sequence[LiveRun], *, session: str, instance: str) -> set[str]:
        """Claim runs that have waited; those that are not there any more."""
        there = self._still_there(db, waiting)
        claimed = [
            {"id": run.id, "slot": run.slot, "token": run.token, "session": session, "instance": instance}
            for run in waiting
            if run.id in there
        ]
        self._write_claims.say(db, claimed)
        return {run.id for run in waiting} - there

    def _claimed_by(self, one: Any) -> Any:
        told = {name: one(name) for name in _OF_A_CLAIM if name != "id"}
        return update(self._runs).where(self._runs.c.id == one("id")).values(state=RUNNING, **told)

    def _still_there(self, db: Connection, runs: Iterable[LiveRun]) -> set[str]:
        """Which of some runs wait still; nobody else takes them, or cancels them, from now on."""
        ids = sorted(run.id for run in runs)
        return set(self._which_still_wait.say(db, ids=ids).scalars()) if ids else set()

    def _to_come(self, db: Connection, session: str, now: int) -> tuple[frozenset[tuple[str, int]], int | None]:
        """The runs of this session that are to end, and when something is due next."""
        rows = [tuple(row) for row in self._what_comes.say(db, now=now, session=session, **self._elsewhere.known)]
        times = [at for id, _, at in rows if not id and at is not None]
        return frozenset((id, token) for id, token, _ in rows if id), min(times, default=None)


def _is_held_up(live: Mapping[str, Unfinished], steps: Sequence[tuple[JobRow, Step]], keys: Mapping[str, int]) -> bool:
    """Whether something waits for a key that others look at in this moment, or that has yet to be looked at."""
    runs = [run for one in live.values() for run in one.runs] + [run for _, found in steps for run in found.made]
    return any(run.waits_for_key and run.limit_key not in keys for run in runs)
