"""What an instance asks of the job database at each look: composed once, and said in the same words ever after.

What is due is asked of the small tables and of the index of times: it costs the same however many jobs there are. Of
what waits no more is read than could begin, and how much there is besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from locum.jobs.elsewhere import LINE
from locum.jobs.many import Sentence
from locum.jobs.rows import columns_of_a_run
from locum.jobs.slices import Slices
from locum.jobs.steps import READY
from locum.jobs.tables import micros_now

if TYPE_CHECKING:
    from locum.jobs.many import Words
    from locum.jobs.tables import Tables

__all__ = ["Questions"]

_NOW = bindparam("now", type_=BigInteger())
_MOST = bindparam("most", type_=Integer())
_SESSION = bindparam("session", type_=String())


class Questions(Slices):
    """What is asked often.

    Where one names `names` and `triggers`, these are what only other instances know when to fire.
    """

    def __init__(self, tables: Tables, namespace: str, store: str) -> None:
        super().__init__(tables, namespace, store)
        self._since_when_does_anything_wait = Sentence(lambda _: select(micros_now(), self._first_ready()))
        self._which_wait = Sentence(self._waiting)
        self._which_are_due = Sentence(self._due)
        self._which_are_live = Sentence(self._live)
        self._which_slices_wait = Sentence(self._slices)
        self._which_still_wait = Sentence(self._still_waiting)
        self._how_used_are_keys = Sentence(lambda _: self._used(self._runs))
        self._which_keys_are_free = Sentence(self._free_keys)
        self._what_comes = Sentence(self._coming)
        self._is_there_anything = Sentence(self._anything)

    # -- jobs about which there is something to decide

    def _waiting(self, words: Words) -> Any:
        """Jobs of which a run could begin, who has waited longest first; each is locked, or passed over."""
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
            .where(self._of_ours(runs), runs.c.state == READY, self._could_begin(used))
            .group_by(runs.c.job)
            .subquery("ready")
        )
        has_place = or_(ready.c.has_place == 1, func.coalesce(taken.c.many, 0) < self._jobs.c.places)
        joined = self._jobs.join(ready, ready.c.job == self._jobs.c.name).outerjoin(
            taken, taken.c.job == self._jobs.c.name
        )
        return self._locked(
            self._select_jobs(self._is_known(words), has_place).select_from(joined).order_by(ready.c.since)
        )

    def _due(self, words: Words) -> Any:
        """Jobs that are planned for a time until now; each is locked, or passed over."""
        return self._locked(
            self._select_jobs(self._is_planned(words), self._jobs.c.next_at <= _NOW).order_by(self._jobs.c.next_at)
        )

    def _locked(self, found: Any) -> Any:
        return found.limit(_MOST).with_for_update(skip_locked=True, of=self._jobs)

    def _is_planned(self, words: Words) -> Any:
        """Whether a job has times here; a trigger that nobody here has is another release's, which fires by it."""
        trigger = self._jobs.c.name + LINE + self._jobs.c.trigger_text
        return and_(self._jobs.c.paused == 0, self._is_known(words), words.not_among(trigger, "triggers"))

    def _is_known(self, words: Words) -> Any:
        return words.not_among(self._jobs.c.name, "names")

    # -- their runs

    def _live(self, words: Words) -> Any:
        """The whole runs of some jobs that are not over; of those that wait, `most` of each that could begin first.

        Of each besides: how many of its job's could begin, and how many wait for which nobody has asked. Of some jobs,
        `whole`, all are wanted.
        """
        runs, used = self._runs, self._used(self._runs.alias("busy")).subquery("used")
        waits, could = runs.c.state == READY, self._could_begin(used)
        turn = [
            case((could, 0), else_=1),
            case((runs.c.slot.is_not(None), 0), else_=1),
            case((runs.c.nonce == "", 0), else_=1),
            runs.c.fire_at,
        ]
        kin = [runs.c.job, case((waits, 1), else_=0)]
        all_of = (
            select(
                *columns_of_a_run(runs),
                func.row_number().over(partition_by=kin, order_by=turn).label("turn"),
                func.count(case((could, 1))).over(partition_by=kin).label("able"),
                func.count(case((runs.c.nonce == "", 1))).over(partition_by=kin).label("scheduled"),
            )
            .select_from(runs.outerjoin(used, used.c.limit_key == runs.c.limit_key))
            .where(self._of_ours(runs), words.among(runs.c.job, "jobs"), runs.c.parent.is_(None))
            .subquery("all_of")
        )
        return select(all_of).where(
            or_(all_of.c.state != READY, all_of.c.turn <= _MOST, words.among(all_of.c.job, "whole"))
        )

    def _slices(self, words: Words) -> Any:
        """Of each of some jobs as many slices as could begin, who has waited longest first."""
        runs = self._runs
        turn = func.row_number().over(partition_by=runs.c.job, order_by=[runs.c.fire_at, runs.c.part])
        waiting = (
            select(*columns_of_a_run(runs), turn.label("turn"))
            .where(self._of_ours(runs), words.among(runs.c.job, "jobs"), runs.c.parent.is_not(None))
            .where(runs.c.state == READY, runs.c.not_before <= _NOW)
            .subquery("waiting")
        )
        return select(waiting).where(waiting.c.turn <= _MOST).order_by(waiting.c.turn)

    def _still_waiting(self, words: Words) -> Any:
        """Which of some runs wait, locked in one order: nobody else takes or cancels them from now on."""
        ids = select(self._runs.c.id).where(words.among(self._runs.c.id, "ids"), self._runs.c.state == READY)
        return ids.order_by(self._runs.c.id).with_for_update()

    # -- keys

    def _used(self, runs: Any) -> Any:
        """How many whole runs have a place, by their key."""
        return (
            select(runs.c.limit_key, func.count().label("many"))
            .where(
                self._of_ours(runs), runs.c.limit_key.is_not(None), runs.c.slot.is_not(None), runs.c.parent.is_(None)
            )
            .group_by(runs.c.limit_key)
        )

    def _could_begin(self, used: Any) -> Any:
        """Whether a run's time has come, and its key is not used up."""
        runs = self._runs
        has_key = or_(
            runs.c.limit_key.is_(None), runs.c.slot.is_not(None), func.coalesce(used.c.many, 0) < runs.c.key_places
        )
        return and_(runs.c.not_before <= _NOW, has_key)

    def _free_keys(self, words: Words) -> Any:
        """Which of some keys nobody else looks at in this moment: they are locked."""
        keys = self._tables.keys
        mine = select(keys.c.name).where(self._of_ours(keys), words.among(keys.c.name, "names"))
        return mine.order_by(keys.c.name).with_for_update(skip_locked=True)

    # -- what comes

    def _coming(self, words: Words) -> Any:
        """The runs of a session that are to end; and, with an empty id, when something is due next.

        What waits for a place, a key or a lock is found by looking again.
        """
        nothing, runs = cast(null(), BigInteger), self._runs
        planned = select(literal("", String), nothing, func.min(self._jobs.c.next_at)).where(
            self._of_ours(self._jobs), self._is_planned(words)
        )
        waiting = select(literal("", String), nothing, func.min(runs.c.not_before)).where(
            self._of_ours(runs), runs.c.state == READY, runs.c.not_before > _NOW
        )
        ending = select(runs.c.id, runs.c.token, nothing).where(*self._is_to_end())
        return union_all(planned, waiting, ending)

    def _anything(self, words: Words) -> Any:
        """The time, how many runs of a session are to end, how many are claimed by anybody, and what is due next."""
        runs = self._runs
        planned = select(func.min(self._jobs.c.next_at)).where(self._of_ours(self._jobs), self._is_planned(words))
        ending = select(func.count()).where(*self._is_to_end())
        claimed = select(func.count()).where(self._of_ours(runs), runs.c.session.is_not(None))
        found = [one.scalar_subquery() for one in (ending, claimed, planned)]
        return select(micros_now(), *found, self._first_ready())

    def _first_ready(self) -> Any:
        """When the first of what waits may begin."""
        first = select(func.min(self._runs.c.not_before)).where(self._of_ours(self._runs), self._runs.c.state == READY)
        return first.scalar_subquery()

    def _is_to_end(self) -> tuple[Any, ...]:
        return self._of_ours(self._runs), self._runs.c.session == _SESSION, self._runs.c.cancelling == 1
