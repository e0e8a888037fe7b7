"""Whether and when a run that has failed is tried again. Pure but for chance."""

from __future__ import annotations

import random
from dataclasses import dataclass

from locum.errors import ScheduleError

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a failed run is tried again, with pauses that double, drawn from nothing up to all of them.

    The pause is kept with the run in the job database: any instance takes it up, and none holds it in memory.

    Attributes:
        attempts: How often it is tried in all; 1 for no second time.
        initial: Seconds up to which the first pause is drawn.
        maximum: Seconds up to which the longest is.
        on: What is tried again; anything else is given up at once.

    Raises:
        ScheduleError: It cannot be.
    """

    attempts: int = 1
    initial: float = 1.0
    maximum: float = 300.0
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        """See that it can be."""
        if not 1 <= self.attempts <= 1000:
            raise ScheduleError(f"attempts={self.attempts!r}: a run is tried once, and 1000 times at most")
        if not 0 < self.initial <= self.maximum < float("inf"):
            raise ScheduleError(f"initial={self.initial!r} must be above 0 and not above maximum={self.maximum!r}")

    def pause(self, error: BaseException, *, failures: int) -> float | None:
        """Seconds until it is tried again; `None` if it is given up.

        Args:
            error: What it failed with.
            failures: How often it has failed, this time included.
        """
        if failures >= self.attempts or not isinstance(error, self.on):
            return None
        longest = min(self.maximum, self.initial * 2.0 ** min(failures - 1, 60))
        return random.uniform(0.0, longest)  # noqa: S311 - spreads load, hides nothing
