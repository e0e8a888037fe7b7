"""Which runs begin, of those that could: each job's in their turn, and jobs by their shares. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.jobs.shares import Want, shares
from locum.jobs.steps import READY, RUNNING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from locum.jobs.job import Job
    from locum.jobs.steps import LiveRun, Step

__all__ = ["begin"]


def begin(
    steps: Sequence[tuple[Job, Step]],
    *,
    now: int,
    room: int,
    keys: dict[str, int],
    going: Mapping[str, int],
    kept: int = 0,
) -> None:
    """Have runs begin, under the next tokens of their jobs.

    Args:
        steps: The jobs, in the order of waiting, with what else is done about them.
        now: The database's time.
        room: How many places are free here.
        keys: How often each key is used that may be given here; it is counted on.
        going: How many runs of each job go here.
        kept: How many places are for jobs that have none here.
    """
    here = {job.name: going.get(job.name, 0) for job, _ in steps}
    while room > 0:
        wants = [_want(job, found, here[job.name], now) for job, found in steps]
        given, begun = shares(wants, room=room, kept=kept), 0
        for (job, found), many in zip(steps, given, strict=True):
            have_begun = _begin(job, found, now, many, keys) if many else 0
            here[job.name] += have_begun
            begun += have_begun
        if not begun or begun == sum(given):
            return  # what still waits, waits for keys, or for what is kept
        room -= begun  # what could not have its share, for its key, leaves it to others


def _begin(job: Job, found: Step, now: int, room: int, keys: dict[str, int]) -> int:
    """How many of one job have begun, the oldest first."""
    taken = _taken(found)
    begun = 0
    for run in sorted(_in_time(found, now), key=_turn):
        if begun == room:
            break
        if run.waits_for_key and not _may_have_key(run, keys):
            continue
        if run.slot is None:
            free = next((slot for slot in range(job.overlap.places) if slot not in taken), None)
            if free is None:
                break  # the others have none either: those that have one came before
        else:
            free = run.slot
        if run.waits_for_key:
            keys[str(run.limit_key)] += 1
        if run.parent is None:
            taken.add(free)
        found.token += 1
        run.state, run.slot, run.token = RUNNING, free, found.token
        found.begun.append(run)
        begun += 1
    return begun


def _want(job: Job, found: Step, going: int, now: int) -> Want:
    """How many could begin, if no key kept them from it."""
    waiting = _in_time(found, now)
    placed = sum(run.slot is not None for run in waiting)
    free = max(0, job.overlap.places - len(_taken(found)))
    is_cut = any(run.parent is not None for run in waiting)
    return Want(going, placed + min(free, len(waiting) - placed), is_cut)


def _taken(found: Step) -> set[int]:
    """The places of a job that are taken."""
    return {run.slot for run in found.runs if run.slot is not None and run.parent is None}


def _in_time(found: Step, now: int) -> list[LiveRun]:
    return [run for run in found.runs if run.state == READY and run.not_before <= now]


def _may_have_key(run: LiveRun, keys: Mapping[str, int]) -> bool:
    used = keys.get(str(run.limit_key))
    return used is not None and used < (run.key_places or 1)


def _turn(run: LiveRun) -> tuple[bool, bool, int]:
    """What has a place, such as slices, then scheduled ones, then those that were asked for; each by their times."""
    return run.slot is None, bool(run.nonce), run.fire_at
