"""Many seeds on all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from locum.clock import Clock, seconds
from locum.testing.simulation.run import Outcome, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["Tally", "kept_seeds", "simulate_many"]

_AT_ONCE: Final = 4


@dataclass(slots=True)
class Tally:
    """What many runs came to.

    Attributes:
        seeds: How many ran.
        counted: In how many of them a fault struck and a term changed; the others prove nothing.
        changes: Changes of term in all of them.
        turns: Turns with the lock in all of them.
        slowest: The longest settling after the healing, in TTLs.
        kinds: How many runs had which kind of fault.
        took: Seconds.
        failed: The first run that showed what must never be.
    """

    seeds: int = 0
    counted: int = 0
    changes: int = 0
    turns: int = 0
    slowest: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    took: float = 0.0
    failed: Outcome | None = None

    def take(self, outcome: Outcome) -> None:
        """Count one run."""
        self.seeds += 1
        self.counted += outcome.counts
        self.changes += outcome.changes
        self.turns += outcome.turns
        self.slowest = max(self.slowest, outcome.settled)
        self.kinds.update(outcome.kinds)
        if outcome.violations and self.failed is None:
            self.failed = outcome

    @property
    def rate(self) -> float:
        """Seeds in a second."""
        return self.seeds / self.took if self.took else 0.0


def kept_seeds(file: Path) -> list[int]:
    """The seeds of a file: one a line, and behind it why it is kept."""
    lines = (line.partition("#")[0].split() for line in file.read_text().splitlines())
    return [int(words[0]) for words in lines if words]


def simulate_many(seeds: Sequence[int], *, workers: int | None = None, told: Callable[[Tally], object]) -> Tally:
    """Run seeds on all cores, until one fails.

    Args:
        seeds: In this order, as far as several do it at once.
        workers: How many at once; as many as there are cores if none is given.
        told: Called after each run.
    """
    clock, tally = Clock(), Tally()
    begun = clock.now()
    count = workers or len(os.sched_getaffinity(0))
    if count == 1:
        _take(map(simulate, seeds), tally, clock, begun, told)
        return tally
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        _take(pool.imap(simulate, seeds, chunksize=_AT_ONCE), tally, clock, begun, told)
    return tally


def _take(outcomes: Iterable[Outcome], tally: Tally, clock: Clock, begun: int, told: Callable[[Tally], object]) -> None:
    for outcome in outcomes:
        tally.take(outcome)
        tally.took = seconds(clock.now() - begun)
        told(tally)
        if tally.failed is not None:
            return
