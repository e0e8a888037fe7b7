"""What a run has found out of the stores, a row a store, with ratios to what the store itself needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import limits
from benchmarks.figures import Figure, spread
from benchmarks.harness import Case
from benchmarks.stores import TOLD, WRITE
from benchmarks.takeover import KILLED, RELEASED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Outcome

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One store, or one peer, for which nothing is known but its takeovers.

    Attributes:
        write: One write, until it is answered.
        told: From before a write until another connection has heard of it: a write and a wake-up.
        crash: From the SIGKILL of the active worker to the successor's first row.
        crash_ratio: Its median, in multiples of a death's notice, a write and a wake-up.
        hand_over: From the request to resign to the successor's first row.
        hand_over_ratio: Its median, in multiples of a write and a wake-up.
    """

    name: str
    write: Figure | None
    told: Figure | None
    crash: Figure | None
    crash_ratio: float | None
    hand_over: Figure | None
    hand_over_ratio: float | None


def rows(outcome: Outcome, names: Sequence[str]) -> list[Row]:
    """A row for each name, as they stand there."""
    found = outcome.values(limits.NOTICE, "ms")
    notice = spread(found, "ms").p50 if found else None
    return [row for row in (_row(outcome, name, notice) for name in names) if row.crash or row.hand_over]


def _row(outcome: Outcome, name: str, notice: float | None) -> Row:
    def figure(kind: str) -> Figure | None:
        values = outcome.values(Case(name, kind), "ms")
        return spread(values, "ms") if values else None

    told, crash, hand_over = figure(TOLD), figure(KILLED), figure(RELEASED)
    return Row(
        name,
        figure(WRITE),
        told,
        crash,
        round(crash.p50 / (told.p50 + notice), 2) if crash and told and notice else None,
        hand_over,
        round(hand_over.p50 / told.p50, 2) if hand_over and told else None,
    )
