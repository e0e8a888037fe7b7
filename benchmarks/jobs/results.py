"""What a run has found out of the jobs, a row a case; and whether that is what is wanted."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.jobs import DRAINED, LATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Case, Outcome

__all__ = ["Row", "aims", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender, and one kind.

    Attributes:
        figures: The median of each number over the visits.
        n: How many visits.
    """

    case: Case
    figures: dict[str, float]
    n: int


def rows(outcome: Outcome) -> list[Row]:
    """Kind by kind, the fastest first."""
    found = []
    for case in outcome.cases():
        samples = [sample.values for sample in outcome.samples if sample.case == case]
        figures = {name: statistics.median(one[name] for one in samples) for name in samples[0]}
        found.append(Row(case, figures, len(samples)))
    return sorted(found, key=lambda row: (row.case.kind, -row.figures.get("runs a second", 0.0)))


def aims(found: Sequence[Row]) -> dict[str, Any]:
    """What is wanted of Locum, and what came of it; only what was measured in this run."""
    by = {(row.case.label, row.case.kind): row.figures for row in found}
    judged: dict[str, Any] = {}
    late = by.get(("Locum", LATE.format(2000)))
    if late:
        judged["p99 of lateness at 2,000 fires a second (< 50 ms)"] = f"{late['late p99 ms']:.1f} ms"
    idle = next((row.figures for row in found if row.case.kind.startswith("idle")), None)
    if idle:
        judged["commits a second of an idle instance (< 5)"] = round(idle["commits a second"], 2)
    two = DRAINED.format(2)
    ours = by.get(("Locum", two))
    if ours is None:
        return judged
    for label, kind in by:
        if kind != two or label == "Locum":
            continue
        ratio = ours["runs a second"] / by[label, kind]["runs a second"]
        wanted = "at least 1/3" if label.startswith("bare") else "at least 10, if it begins none twice"
        judged[f"drained by two: Locum / {label} ({wanted})"] = round(ratio, 2)
    return judged
