"""What is to be done about one job at one moment: which runs come to be, are left out or are cancelled. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from locum.jobs.job import in_words, instant, micros
from locum.jobs.misfires import due
from locum.jobs.overlap import Admission, admit
from locum.names import random_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.jobs.job import Job

__all__ = ["CUT", "READY", "RUNNING", "JobRow", "LiveRun", "Step", "Unfinished", "decide"]

READY: Final = "ready"
RUNNING: Final = "running"
CUT: Final = "cut"
"""Its slices are executed; it has its place until they are over."""
_WORKED_OUT_ANEW: Final = 0


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the database knows it; instants in microseconds."""

    name: str
    trigger_text: str
    next_at: int | None
    decided_until: int
    token: int
    paused: bool
    checkpoint: str | None


@dataclass(slots=True)
class LiveRun:
    """A run that is not over.

    Attributes:
        nonce: Empty for the run of a scheduled time.
        slot: Its place among the runs of its job; kept by one whose executor was lost, whose old body might yet act.
            Of a slice, the place of its run.
        parent: Of a slice, its run; `None` for a whole run.
        part: Of a slice, which it is, from 0.
        parts: How many slices there are; `None` for a run that is not cut.
        checkpoint: Of a slice, what it has kept.
        limit_key: What it shares a limit by, with runs of whatever job; `None` for nothing.
        key_places: How many with that key may go at once.
    """

    id: str
    job: str
    fire_at: int
    nonce: str
    state: str
    attempt: int
    failures: int
    losses: int
    token: int
    not_before: int
    slot: int | None
    params: str
    parent: str | None = None
    part: int | None = None
    parts: int | None = None
    checkpoint: str | None = None
    limit_key: str | None = None
    key_places: int | None = None
    is_new: bool = False

    @classmethod
    def waiting(
        cls, job: str, fire_at: int, *, nonce: str, not_before: int, params: str, id: str = "", **more: Any
    ) -> LiveRun:
        """A run that comes to be, and waits for its first executor."""
        first: dict[str, Any] = {"attempt": 1, "failures": 0, "losses": 0, "token": 0, "slot": None}
        return cls(
            id=id or random_id(),
            job=job,
            fire_at=fire_at,
            nonce=nonce,
            state=READY,
            not_before=not_before,
            params=params,
            **first | more,
        )

    @property
    def waits_for_key(self) -> bool:
        """Whether others of its key may keep it from beginning; what has a place has its key, too."""
        return self.state == READY and self.slot is None and self.limit_key is not None


@dataclass(slots=True)
class Unfinished:
    """What of one job is not over, as far as it was read.

    Attributes:
        runs: What goes, and of what waits as much as could begin.
        able: How many whole runs wait that could begin, whether they were read or not.
        scheduled: How many wait for which nobody has asked, whether they were read or not.
    """

    runs: list[LiveRun] = field(default_factory=list)
    able: int = 0
    scheduled: int = 0

    @property
    def unread(self) -> int:
        """How many wait besides, for which nobody has asked."""
        return self.scheduled - sum(_is_scheduled(run) for run in self.runs)


@dataclass(slots=True)
class Step:
    """What is to be done.

    Attributes:
        next_at: When it is planned next.
        decided_until: Up to which time it is decided what fires.
        token: The last token.
        runs: What is not over then.
        made: Runs that come to be; some of them begin at once.
        begun: Runs that begin, the new ones included.
        left_out: Runs that do not begin, or never came to be: with the reason.
        cancelled: Running ones that are to end.
    """

    next_at: int | None
    decided_until: int
    token: int
    runs: list[LiveRun] = field(default_factory=list)
    made: list[LiveRun] = field(default_factory=list)
    begun: list[LiveRun] = field(default_factory=list)
    left_out: list[tuple[LiveRun, str]] = field(default_factory=list)
    cancelled: list[LiveRun] = field(default_factory=list)

    def plans(self, row: JobRow) -> bool:
        """Whether the job's row is another one now."""
        return (self.next_at, self.decided_until, self.token) != (row.next_at, row.decided_until, row.token)

    def changes(self, row: JobRow) -> bool:
        """Whether anything is to be done."""
        return self.plans(row) or bool(self.made or self.begun or self.left_out)


def decide(job: Job, row: JobRow, live: Unfinished, *, now: int) -> Step:
    """What is to be done, but for which runs begin.

    Args:
        job: As it is declared here.
        row: As the database knows it.
        live: Its runs that are not over; of those that wait, at least as many as may begin.
        now: The database's time.
    """
    found = Step(row.next_at, row.decided_until, row.token, list(live.runs))
    if not row.paused and job.trigger is not None and row.trigger_text == job.trigger_text:
        _fire(job, found, now, live.unread)
    _leave_out_late(job, found, now)
    return found


def _fire(job: Job, found: Step, now: int, unread: int) -> None:
    """The scheduled times that are due, each decided once."""
    assert job.trigger is not None  # noqa: S101 - whoever calls has looked
    if found.next_at == _WORKED_OUT_ANEW:
        following = job.trigger.next_after(instant(max(now, found.decided_until)))
        found.next_at = None if following is None else micros(following)
    if found.next_at is None or found.next_at > now:
        return
    planned = found.next_at
    what = due(job.trigger, instant(planned), instant(now), job.misfire)
    before = found.decided_until
    decided = [micros(one) for one in what.fires]
    if what.dropped is not None:
        first, last = map(micros, what.dropped)
        why = f"missed, by misfire={job.misfire.policy}: {in_words(first)} to {in_words(last)}"
        found.left_out.append((_run_of(job, first), why))
        decided.append(last)
    for fire_at in map(micros, what.fires):
        if fire_at > before:  # decided already, under another trigger or with another clock: never again
            _admit(job, found, _run_of(job, fire_at), unread)
    found.decided_until = max([before, *decided])
    found.next_at = None if what.next is None else micros(what.next)


def _admit(job: Job, found: Step, run: LiveRun, unread: int) -> None:
    runs = found.runs
    running = [one for one in runs if one.state != READY and one.parent is None]
    waiting = [one for one in runs if _is_scheduled(one)]
    answer = admit(job.overlap, running=len(running), waiting=len(waiting) + unread)
    if answer is Admission.SKIP:
        found.left_out.append((run, f"left out, by overlap={job.overlap.policy}: another run is not over"))
        return
    if answer is Admission.REPLACE:
        found.cancelled += [one for one in running if one not in found.cancelled]
        for one in waiting:
            runs.remove(one)
            _leave_out(found, one, "replaced by a later run before it began")
    found.made.append(run)
    runs.append(run)


def _leave_out_late(job: Job, found: Step, now: int) -> None:
    """What should have begun by now is left out."""
    if job.begin_within is None:
        return
    for run in [one for one in found.runs if one.state == READY and _is_too_late(job, one, now)]:
        found.runs.remove(run)
        _leave_out(found, run, f"not begun within {job.begin_within:g} s")


def _is_scheduled(run: LiveRun) -> bool:
    """Whether it waits for its time's sake; slices have a nonce."""
    return run.state == READY and not run.nonce


def _leave_out(found: Step, run: LiveRun, why: str) -> None:
    if run.is_new:
        found.made.remove(run)
    found.left_out.append((run, why))


def _is_too_late(job: Job, run: LiveRun, now: int) -> bool:
    if run.attempt > 1 or run.nonce:
        return False
    return job.begin_within is not None and now - run.not_before > job.begin_within * 1_000_000


def _run_of(job: Job, fire_at: int, make_id: Callable[[], str] = random_id) -> LiveRun:
    params = job.params_at(fire_at)
    return LiveRun.waiting(
        job.name,
        fire_at,
        nonce="",
        not_before=job.not_before(fire_at),
        params=params,
        id=make_id(),
        is_new=True,
        **job.limit_of(params, fire_at),
    )
