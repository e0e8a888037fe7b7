"""Figures with their n, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figure", "machine", "spread"]


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
    p50: float
    p90: float
    p99: float
    max: float

    def __str__(self) -> str:
        numbers = " ".join(f"{name} {value:.4g}" for name, value in asdict(self).items() if name not in ("unit", "n"))
        return f"{numbers} {self.unit} (n={self.n})"


def spread(values: Sequence[float], unit: str) -> Figure:
    """The spread of some measurements."""
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return Figure(unit, len(ordered), ordered[0], statistics.median(ordered), at(0.9), at(0.99), ordered[-1])


def machine() -> str:
    """The machine in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, Python"
        f" {platform.python_version()}, SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}"
    )
