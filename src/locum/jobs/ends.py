"""Ends in the job database: of attempts, under their token; of sessions; and of what was over long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Integer, String, Text, bindparam, delete, or_, select, update

from locum.jobs.many import Many, Sentence
from locum.jobs.rows import SECOND, storable
from locum.jobs.slices import Slices
from locum.jobs.steps import READY, RUNNING
from locum.jobs.tables import micros_now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection, Row
    from sqlalchemy.types import TypeEngine

    from locum.jobs.finish import Finish
    from locum.jobs.job import Job
    from locum.jobs.many import Words
    from locum.jobs.tables import Tables

__all__ = ["Ends"]

_MOST_LOSSES: Final = 5
_KEPT: Final[dict[str, float]] = {
    "succeeded": 7,
    "skipped": 7,
    "cancelled": 30,
}  # days; dead letters are kept until somebody decides
_DAY: Final = 86_400 * SECOND
_TOGETHER: Final = 1000
_OF_WHAT_WAITS: Final[dict[str, TypeEngine[Any]]] = {
    "id": String(),
    "slot": Integer(),
    "attempt": Integer(),
    "failures": Integer(),
    "losses": Integer(),
    "not_before": BigInteger(),
    "error": Text(),
}
_OF_AN_EXECUTION: Final[dict[str, TypeEngine[Any]]] = {"run": String(), "token": BigInteger()}


class Ends(Slices):
    """How runs end, and come back."""

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        super().__init__(tables, namespace, store)
        told = tables.progress
        self._which_are_ours = Sentence(self._ours)
        self._let_wait = Many(_OF_WHAT_WAITS, self._waiting_again)
        job = self._history.c.job
        self._which_of_these_are_old = Sentence(lambda words: self._old(words, words.among(job, "names")))
        self._which_of_others_are_old = Sentence(lambda words: self._old(words, words.not_among(job, "names")))
        self._delete_old = Many(
            {"id": String()}, lambda one: delete(self._history).where(self._history.c.id == one("id"))
        )
        self._say_progress = Many.into(told)
        self._forget_progress = Many(
            _OF_AN_EXECUTION,
            lambda one: delete(told).where(told.c.run == one("run"), told.c.token == one("token")),
        )

    def finish(
        self, db: Connection, finishes: Iterable[Finish], *, session: str, jobs: Mapping[str, Job] | None = None
    ) -> frozenset[str]:
        """Write down how attempts ended, all of one session's; and what is to follow.

        Args:
            db: The transaction.
            finishes: How they ended.
            session: Under which they were executed.
            jobs: As they are declared here: some may follow on others.

        Returns:
            The runs of which it was refused: somebody else has them, or has had them.
        """
        ended = list(finishes)
        for one in ended:
            if one.floor:
                self._lift(db, one)
        # in one order, so that two who end the same runs do not wait for each other
        rows = self._which_are_ours.say(db, ids=sorted({one.id for one in ended}), session=session)
        ours = {(row.id, row.token): row for row in rows}
        now = max((row.now for row in ours.values()), default=0)  # of none, nothing is written
        if any(row.limit_key for row in ours.values()):
            self.wake(db)  # another instance may have what waits for that key
        over: list[tuple[Row[Any], dict[str, Any]]] = []
        again: list[dict[str, Any]] = []
        cut: list[tuple[Row[Any], Finish]] = []
        for one in ended:
            row = ours.get((one.id, one.token))
            if row is None:
                continue
            if one.is_final or row.cancelling:  # it was to end, and has
                outcome = one.outcome if one.is_final else "cancelled"
                over.append((row, self._over(row.id, outcome, one.error, now, result=one.result)))
            elif one.outcome == "cut":
                cut.append((row, one))
            else:
                again.append(self._again(one, row, now))
        self._end(db, [end for _, end in over])
        self._let_wait.say(db, again)
        for row, one in cut:
            self._cut(db, row, one, now)
        self._follow(db, [row for row, end in over if end["outcome"] == "succeeded"], now, jobs or {})
        parents = [row.parent for row, _ in over if row.parent]
        self._conclude(db, [row.id for row, _ in cut] + parents, now, jobs)
        return self._refused(db, [one for one in ended if (one.id, one.token) not in ours])

    def _ours(self, words: Words) -> Any:
        """Runs that a session executes, in the order in which they are locked."""
        runs = self._runs.c
        told = (runs.slot, runs.parent, runs.limit_key, runs.cancelling, micros_now().label("now"))
        read = (runs.job, runs.fire_at, runs.nonce, *told)
        ours = select(runs.id, runs.token, runs.attempt, runs.failures, runs.losses, *read).where(
            self._of_ours(self._runs),
            words.among(runs.id, "ids"),
            runs.session == bindparam("session", type_=String()),
            runs.state == RUNNING,
        )
        return ours.order_by(runs.id).with_for_update()

    def _waiting_again(self, one: Any) -> Any:
        """Have a run wait, whose attempt is over, and which is not: it has no executor."""
        told = {name: one(name) for name in _OF_WHAT_WAITS if name != "id"}
        return update(self._runs).where(self._runs.c.id == one("id")).values(state=READY, session=None, **told)

    def _again(self, finish: Finish, row: Row[Any], now: int) -> dict[str, Any]:
        return {
            "id": row.id,
            "slot": row.slot if row.parent else None,  # the place of a slice is its run's
            "attempt": row.attempt + int(finish.has_begun),
            "failures": row.failures + int(finish.outcome == "again"),
            "losses": row.losses,
            "not_before": now + round(finish.pause * SECOND),
            "error": storable(finish.error),
        }

    def _refused(self, db: Connection, others: Collection[Finish]) -> frozenset[str]:
        """Those whose end was not written before, by a call whose answer was lost."""
        if not others:
            return frozenset()
        over = select(self._history.c.id, self._history.c.token).where(
            self._history.c.id.in_({one.id for one in others})
        )
        landed = {(row.id, row.token) for row in db.execute(over)}
        # what was to be tried again waits, under that token still; whether by us or by a recovery is all the same
        open_ended = {one.id for one in others if not one.is_final}
        waits = select(self._runs.c.id, self._runs.c.token).where(
            self._runs.c.id.in_(open_ended), self._runs.c.state == READY
        )
        waiting = {(row.id, row.token) for row in db.execute(waits)} if open_ended else set()
        return frozenset(
            one.id
            for one in others
            if (one.id, one.token) not in landed and (one.is_final or (one.id, one.token) not in waiting)
        )

    def _lift(self, db: Connection, finish: Finish) -> None:
        """A fence has seen a higher token than the job has given, as after a restore: the next ones are above it."""
        job = select(self._runs.c.job).where(self._runs.c.id == finish.id).scalar_subquery()
        db.execute(
            update(self._jobs)
            .where(self._of_ours(self._jobs), self._jobs.c.name == job, self._jobs.c.token < finish.floor)
            .values(token=finish.floor)
        )

    def checkpoint_slice(self, db: Connection, run_id: str, *, token: int, session: str, value: str) -> bool:
        """Keep a value for this slice's later attempts; whether it is still that executor's."""
        kept = update(self._runs).where(
            self._runs.c.id == run_id,
            self._runs.c.token == token,
            self._runs.c.session == session,
            self._runs.c.state == RUNNING,
        )
        return bool(db.execute(kept.values(checkpoint=value)).rowcount)

    def checkpoint(self, db: Connection, run_id: str, *, job: str, token: int, session: str, value: str) -> bool:
        """Keep a value for this job's later attempts and runs; whether the run is still that executor's.

        The job's row is locked first, as by whoever claims: an executor that reads the value with its claim reads the
        last one that was taken, and none is taken after that of the executor before.
        """
        self._lock(db, job)
        ours = select(self._runs.c.id).where(
            self._runs.c.id == run_id,
            self._runs.c.token == token,
            self._runs.c.session == session,
            self._runs.c.state == RUNNING,
        )
        if db.execute(ours).first() is None:
            return False
        self._change(db, job, checkpoint=value)
        return True

    # -- how far it is

    def tell(self, db: Connection, said: Mapping[tuple[str, int], str], *, over: Iterable[tuple[str, int]]) -> None:
        """Write down how far executions are, each by its run and its token; and let go of what others have said."""
        gone = sorted({*said, *over})
        self._forget_progress.say(db, [{"run": run, "token": token} for run, token in gone])
        rows = [
            {"run": run, "token": token, "namespace": self._namespace, "said": text}
            for (run, token), text in sorted(said.items())
        ]
        self._say_progress.say(db, rows)

    # -- of sessions

    def sessions(self, db: Connection) -> list[str]:
        """The sessions that executors claim runs under."""
        named = select(self._runs.c.session).where(self._of_ours(self._runs), self._runs.c.session.is_not(None))
        return list(db.execute(named.distinct()).scalars())

    def enlisted(self, db: Connection) -> list[str]:
        """The sessions whose instances have declared jobs."""
        rosters = self._tables.rosters
        return list(db.execute(select(rosters.c.session).where(self._of_ours(rosters))).scalars())

    def forget(self, db: Connection, sessions: Collection[str]) -> None:
        """Take back what these sessions have declared, which are over."""
        rosters = self._tables.rosters
        db.execute(delete(rosters).where(self._of_ours(rosters), rosters.c.session.in_(list(sessions))))

    def recover(self, db: Connection, session: str, *, but: Collection[tuple[str, int]] = ()) -> int:
        """Let others go on with what a session has claimed, which is over.

        The token is invalid with that: a claim gives the next one. The place is kept until then, because the old body
        might still act under it. What has lost its executor too often is a dead letter.

        Args:
            db: The transaction.
            session: The session.
            but: Runs, with their tokens, whose end will be written yet.

        Returns:
            How many runs.
        """
        now = self.now(db)
        lost = self._claimed(db, session, but)
        if lost:
            self.wake(db)
        again: list[dict[str, Any]] = []
        for row in lost:
            losses = row.losses + 1
            if losses > _MOST_LOSSES or row.cancelling:
                outcome = "cancelled" if row.cancelling else "dead"
                why = f"its executor was lost {losses} times, the last time on {row.instance}"
                self._end(db, [self._over(row.id, outcome, why, now)])
                self._conclude(db, [row.parent] if row.parent else [], now)
            else:
                again.append({**row._mapping, "losses": losses, "attempt": row.attempt + 1, "not_before": now})
        self._let_wait.say(db, again)
        return len(lost)

    def put_back(self, db: Connection, session: str, *, but: Collection[tuple[str, int]]) -> int:
        """Let others have what a living session has claimed by a call whose answer was lost: nothing of it has begun.

        Args:
            db: The transaction.
            session: The session.
            but: Runs, with their tokens, that its executor knows of.

        Returns:
            How many runs.
        """
        unknown = self._claimed(db, session, but)
        self._let_wait.say(db, [{**row._mapping, "slot": row.slot if row.parent else None} for row in unknown])
        return len(unknown)

    def _claimed(self, db: Connection, session: str, but: Collection[tuple[str, int]]) -> list[Row[Any]]:
        claimed = self._select_runs(self._runs.c.session == session, self._runs.c.state == RUNNING)
        rows = db.execute(claimed.order_by(self._runs.c.id).with_for_update())
        return [row for row in rows if (row.id, row.token) not in but]

    # -- of what was over long ago

    def purge(self, db: Connection, kept: Mapping[str, float] | None = None) -> bool:
        """Let go of what was over long ago, a slice of it; dead letters stay.

        Args:
            db: The transaction.
            kept: For how many days that of some jobs is kept; others' for a week, or a month if it was cancelled.

        Returns:
            Whether there may be more.
        """
        now, is_full, own = self.now(db), False, kept or {}
        told = self._tables.progress  # by executors that were lost
        live = select(self._runs.c.id).where(self._runs.c.id == told.c.run, self._runs.c.token == told.c.token)
        db.execute(delete(told).where(self._of_ours(told), ~live.exists()))
        keys, used = self._tables.keys, select(self._runs.c.limit_key).where(self._runs.c.limit_key.is_not(None))
        db.execute(delete(keys).where(self._of_ours(keys), keys.c.name.not_in(used)))
        wanted = [
            (self._which_of_others_are_old, [outcome], sorted(own), days) for outcome, days in sorted(_KEPT.items())
        ]
        for days in sorted(set(own.values())):
            names = sorted(name for name, own_days in own.items() if own_days == days)
            wanted += [
                (self._which_of_these_are_old, sorted(_KEPT), names[begin : begin + _TOGETHER], days)
                for begin in range(0, len(names), _TOGETHER)
            ]
        for which, outcomes, names, days in wanted:
            before = now - round(days * _DAY)
            ids = list(which.say(db, outcomes=outcomes, names=names, before=before).scalars())
            self._delete_old.say(db, [{"id": id} for id in ids])
            is_full = is_full or len(ids) == _TOGETHER
        return is_full

    def _old(self, words: Words, is_of: Any) -> Any:
        """What was over before an instant, so much as is let go of together."""
        over, live = self._history.c, select(self._runs.c.id)
        old = select(over.id).where(
            self._of_ours(self._history),
            words.among(over.outcome, "outcomes"),
            is_of,
            over.finished_at < bindparam("before", type_=BigInteger()),
            or_(over.parent.is_(None), over.parent.not_in(live)),  # of what is under way, the results are needed
        )
        return old.limit(_TOGETHER)
