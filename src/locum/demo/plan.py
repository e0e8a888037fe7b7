"""Which injuries come when: pure."""

from __future__ import annotations

import enum
from itertools import accumulate
from typing import Final

__all__ = ["TTL", "Kind", "injuries", "least_seconds", "schedule"]

TTL: Final = 1.5
"""The TTL of the demo's instances, in seconds."""

_LEAD: Final = 1.0  # s before the first injury


class Kind(enum.Enum):
    """What is done to the active instance."""

    WORKER_KILLED = "worker-killed"
    INSTANCE_KILLED = "instance-killed"
    FROZEN = "frozen"
    RESIGNED = "resigned"

    @property
    def needs(self) -> float:
        """Seconds until everything stands again; a frozen instance is let go after two TTL."""
        return 2 * TTL + 1.0 if self is Kind.FROZEN else 1.5


def injuries(count: int) -> list[Kind]:
    """The kinds of so many injuries, in turn."""
    kinds = list(Kind)
    return [kinds[place % len(kinds)] for place in range(count)]


def least_seconds(count: int) -> float:
    """How long a run with so many injuries must be."""
    return _LEAD + sum(kind.needs for kind in injuries(count)) if count else 0.0


def schedule(count: int, seconds: float) -> list[tuple[float, Kind]]:
    """When each injury comes, in seconds from the first order: spread over the run by what each needs."""
    kinds = injuries(count)
    if not kinds:
        return []
    begins = [0.0, *accumulate(kind.needs for kind in kinds)]
    stretch = (seconds - _LEAD) / begins[-1]
    return [(_LEAD + begin * stretch, kind) for begin, kind in zip(begins, kinds, strict=False)]
