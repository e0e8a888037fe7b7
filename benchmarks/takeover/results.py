"""What a run has found out, a row a case, with its ratio to what the machine and the TTL would allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import limits
from benchmarks.figures import Figure, spread, time_text
from benchmarks.takeover import FROZEN, KILLED, KINDS

if TYPE_CHECKING:
    from benchmarks.harness import Case, Outcome

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        takeover: From the injury to the successor's first row.
        times_least: Its median, in multiples of what this machine needs at least; none where only time tells.
        times_ttl: Its median, in multiples of the TTL.
        overlapped: In how many of the measurements two worked at once.
        overlap_rows: The rows that others wrote beside the successor, for each measurement.
        overlap_ms: The longest time for which others worked beside it, as far as it was watched.
    """

    case: Case
    values: list[float]
    takeover: Figure
    gap: Figure
    times_least: float | None
    times_ttl: float
    overlapped: int
    overlap_rows: list[int]
    overlap_ms: float

    @property
    def overlap_text(self) -> str:
        """Whether two worked at once, in a few words."""
        if not self.overlapped:
            return "never"
        most = max(self.overlap_rows)
        rows = f"{most} row{'s' if most > 1 else ''} in {time_text(self.overlap_ms)}"
        return f"{self.overlapped} of {len(self.overlap_rows)}, up to {rows}"


def rows(outcome: Outcome, ttl: float) -> list[Row]:
    """The takeover rows of a run, kind by kind, ours first and then the fastest."""
    cases = [case for case in outcome.cases() if case.kind in KINDS]
    found = [_row(outcome, case, ttl) for case in cases]
    order = list(KINDS)
    return sorted(found, key=lambda row: (order.index(row.case.kind), not is_ours(row.case), row.takeover.p50))


def is_ours(case: Case) -> bool:
    """Whether a case is Locum's."""
    return case.label.startswith("Locum")


def _row(outcome: Outcome, case: Case, ttl: float) -> Row:
    values = outcome.values(case, "ms")
    takeover = spread(values, "ms")
    least = None if case.kind == FROZEN else limits.least(outcome, death=case.kind == KILLED)
    strays = outcome.values(case, "overlap rows")
    return Row(
        case=case,
        values=values,
        takeover=takeover,
        gap=spread(outcome.values(case, "gap ms"), "ms"),
        times_least=round(takeover.p50 / least, 2) if least else None,
        times_ttl=round(takeover.p50 / 1000 / ttl, 4),
        overlapped=sum(count > 0 for count in strays),
        overlap_rows=[int(count) for count in strays],
        overlap_ms=max(outcome.values(case, "overlap ms")),
    )
