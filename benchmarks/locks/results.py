"""What a run has found out of the locks, a row a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, spread
from benchmarks.locks import KINDS

if TYPE_CHECKING:
    from benchmarks.harness import Case, Outcome

__all__ = ["Row", "rows"]

_UNITS = {"turns a second": "1/s", "most / least turns": "", "hand-over ms": "ms", "us a lock": "µs"}


@dataclass(frozen=True, slots=True)
class Row:
    """One contender, and one kind.

    Attributes:
        figures: The spread of each number over the visits.
        overlaps: Turns that began before the one before had ended.
    """

    case: Case
    figures: dict[str, Figure]
    overlaps: int


def rows(outcome: Outcome) -> list[Row]:
    """Kind by kind, the fastest first."""
    found = [_row(outcome, case) for case in outcome.cases()]
    order = list(KINDS)
    return sorted(found, key=lambda row: (order.index(row.case.kind), _slowness(row)))


def _row(outcome: Outcome, case: Case) -> Row:
    figures = {name: spread(values, unit) for name, unit in _UNITS.items() if (values := outcome.values(case, name))}
    return Row(case, figures, int(sum(outcome.values(case, "overlaps"))))


def _slowness(row: Row) -> float:
    turns = row.figures.get("turns a second")
    return -turns.p50 if turns else row.figures["us a lock"].p50
