"""The runs of jobs in the picture of a moment: what goes on, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Runs", "UnderWay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A run that is executed, or whose slices are.

    Attributes:
        job: Of which job.
        id: The run.
        fire_at: The time for which it runs (ISO 8601, UTC).
        state: `running`, or `cut` while its slices are executed.
        attempt: The number of its execution.
        instance: Where it runs, or was cut.
        done: How much is done: slices, or what its body has said; `None` if nobody has said it.
        of: Of how much; `None` if nobody knows.
        per_second: How much was done each second, so far; `None` if nothing is known.
        left: Seconds until all is done, if it goes on like that; `None` if nothing can be said.
        note: What it is about, as its body has said.
    """

    job: str
    id: str
    fire_at: str
    state: str
    attempt: int
    instance: str
    done: float | None = None
    of: float | None = None
    per_second: float | None = None
    left: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs that are not over.

    Attributes:
        under_way: What goes on, the oldest first; of many, the first ones.
        more: How many others go on.
        waiting: How many wait: for their time, for a place, or for an instance.
        trouble: Why nothing is known of them; empty if it is.
    """

    under_way: tuple[UnderWay, ...] = ()
    more: int = 0
    waiting: int = 0
    trouble: str = ""
