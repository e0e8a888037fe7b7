"""What becomes of a run that is due while another one of its job is not over. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from locum.errors import ScheduleError

__all__ = ["Admission", "Overlap", "OverlapPolicy", "admit"]

OverlapPolicy = Literal["skip", "buffer_one", "buffer_all", "cancel_running", "allow"]
_POLICIES: Final = ("skip", "buffer_one", "buffer_all", "cancel_running", "allow")


class Admission(enum.Enum):
    """What becomes of it."""

    WAIT = "wait"
    """It begins as soon as there is a place for it, which may be at once."""
    SKIP = "skip"
    """It is left out, and recorded so."""
    REPLACE = "replace"
    """It waits; what is there is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How runs of one job get along.

    Attributes:
        policy: `skip` what comes while one is not over; `buffer_one` that waits for its end, or `buffer_all`;
            `cancel_running`, and begin when it has ended; or `allow` several at once.
        most: How many may be there at once with `allow`; how many may wait with `buffer_all`.

    Raises:
        ScheduleError: It cannot be.
    """

    policy: OverlapPolicy = "skip"
    most: int = 1000

    def __post_init__(self) -> None:
        """See that it can be."""
        if self.policy not in _POLICIES:
            raise ScheduleError(f"overlap={self.policy!r} is not known: it is one of {', '.join(_POLICIES)}")
        if not 1 <= self.most <= 100_000:
            raise ScheduleError(f"most={self.most!r}: at least one run must have a place, and 100,000 at most")

    @property
    def replaces(self) -> bool:
        """Whether what is there makes way for what comes."""
        return self.policy == "cancel_running"

    @property
    def places(self) -> int:
        """How many runs of the job may go at once."""
        return self.most if self.policy == "allow" else 1


def admit(overlap: Overlap, *, running: int, waiting: int) -> Admission:
    """What becomes of one more run.

    Args:
        overlap: The job's.
        running: How many go.
        waiting: How many are there and do not go, those between two attempts included.
    """
    match overlap.policy:
        case "skip":
            return Admission.SKIP if running + waiting else Admission.WAIT
        case "allow":
            return Admission.SKIP if running + waiting >= overlap.most else Admission.WAIT
        case "buffer_one":
            return Admission.SKIP if waiting and running + waiting > 1 else Admission.WAIT
        case "buffer_all":
            return Admission.SKIP if waiting >= overlap.most else Admission.WAIT
        case "cancel_running":
            return Admission.REPLACE if running + waiting else Admission.WAIT
