"""What a planner has said, and what slices return, as the job database keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from locum.errors import ScheduleError
from locum.jobs.job import MOST_SLICES

if TYPE_CHECKING:
    from locum.jobs.job import Job
    from locum.jobs.run import Run

__all__ = ["as_json", "parts_of"]


def parts_of(job: Job, run: Run, planned: object) -> tuple[str, ...]:
    """The parameters of each slice, which go over those of the run.

    Raises:
        ScheduleError: They cannot be.
    """
    if not isinstance(planned, Sequence) or isinstance(planned, str) or len(planned) > MOST_SLICES:
        raise ScheduleError(
            f"{job.name}: slices= must return a list of the parameters of each, {MOST_SLICES:,} at most:"
            f" {planned!r:.80}"
        )
    if not all(isinstance(one, Mapping) for one in planned):
        raise ScheduleError(f"{job.name}: the parameters of each slice must be a mapping: {planned!r:.80}")
    texts = [as_json({**run.params, **one}, f"the parameters of a slice of {job.name}") for one in planned]
    return tuple(map(job.checked, texts))


def as_json(value: Any, what: str) -> str:
    """A value as JSON.

    Raises:
        ScheduleError: It cannot be told in it.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ScheduleError(f"{what} cannot be kept as JSON: {error}") from error
