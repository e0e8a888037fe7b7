"""How an attempt of a run ended, as it is to be written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finish", "Outcome"]

Outcome = Literal["succeeded", "dead", "cancelled", "again", "given_back", "cut"]


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended.

    Attributes:
        id: The run.
        token: Under which it was executed.
        outcome: `succeeded`, `dead` (failed for good), `cancelled`; `again` after `pause` seconds; `given_back`: it
            did not end by itself, and another executor goes on; or `cut` into slices.
        error: What it failed with, in words.
        pause: Seconds until it is tried again.
        floor: A token that a fence has seen: the job's next ones are above it (R20).
        has_begun: Whether its body has; what has not, is not counted as an attempt.
        result: What the body of a slice has returned, as JSON.
        parts: The parameters of each slice, as JSON, where it was cut.
        completes: Whether something is to be done when all of them are over.
    """

    id: str
    token: int
    outcome: Outcome
    error: str = ""
    pause: float = 0.0
    floor: int = 0
    has_begun: bool = True
    result: str | None = None
    parts: tuple[str, ...] = ()
    completes: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the run is over with that."""
        return self.outcome not in ("again", "given_back", "cut")
