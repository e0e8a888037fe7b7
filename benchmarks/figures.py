"""Figures with their n."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figure", "spread", "time_text"]


@dataclass(frozen=True, slots=True)
class Figure:
    """The spread of one measured quantity.

    Attributes:
        unit: What the numbers count.
        n: How many measurements; below 100 the p99 is the largest.
    """

    unit: str
    n: int
    min: float
    p25: float
    p50: float
    p75: float
    p90: float
    p99: float
    max: float


def spread(values: Sequence[float], unit: str) -> Figure:
    """The spread of some measurements; each percentile but the median is one of them, by nearest rank."""
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    middle = statistics.median(ordered)
    return Figure(unit, len(ordered), ordered[0], at(0.25), middle, at(0.75), at(0.9), at(0.99), ordered[-1])


def time_text(ms: float) -> str:
    """Milliseconds in the unit that one reads best."""
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    if ms < 1000:
        return f"{ms:.3g} ms"
    return f"{ms / 1000:.3g} s"
