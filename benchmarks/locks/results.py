"""What a run has found out of the locks, a row a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, spread
from benchmarks.locks import KINDS, WATCHED

if TYPE_CHECKING:
    from benchmarks.harness import Case, Outcome

__all__ = ["Row", "rows", "watches"]

_UNITS = {
    "turns a second": "1/s",
    "most / least turns": "",
    "hand-over ms": "ms",
    "taken a second": "1/s",
    "given back a second": "1/s",
    "calls a second, holding": "1/s",
    "join ms": "ms",
    "leave ms": "ms",
    "calls a change, joiner": "",
    "calls a change, watcher": "",
}


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
    found = [_row(outcome, case) for case in outcome.cases() if case.kind in KINDS]
    order = list(KINDS)
    return sorted(found, key=lambda row: (order.index(row.case.kind), _slowness(row)))


def watches(outcome: Outcome) -> list[Row]:
    """Whose watcher is told soonest of a join comes first."""
    found = [_row(outcome, case) for case in outcome.cases() if case.kind == WATCHED]
    return sorted(found, key=lambda row: row.figures["join ms"].p50)


def _row(outcome: Outcome, case: Case) -> Row:
    figures = {name: spread(values, unit) for name, unit in _UNITS.items() if (values := outcome.values(case, name))}
    return Row(case, figures, int(sum(outcome.values(case, "overlaps"))))


def _slowness(row: Row) -> float:
    turns = row.figures.get("turns a second")
    return -turns.p50 if turns else -row.figures["taken a second"].p50
