"""Locks and members of Locum and of others, in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import machine, report
from benchmarks.harness import interleave
from benchmarks.locks import MANY, WATCHED
from benchmarks.locks.results import rows, watches
from benchmarks.locks.subjects import CONTENDERS, WATCHERS, LockSubject, WatchSubject

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.options import Options

__all__ = ["measure"]


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For what the subjects write.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    everybody = [
        subject(contender, python=options.peers_python, ttl=options.ttl, seconds=options.turns_for, folder=folder)
        for subject, contenders in ((LockSubject, CONTENDERS), (WatchSubject, WATCHERS))
        for contender in contenders
    ]
    chosen = options.chosen(everybody)
    outcome = interleave(
        chosen, options.n, seed=options.seed, fewer={MANY: max(1, options.n // 10), WATCHED: 1}, say=options.say
    )
    found, watched = rows(outcome), watches(outcome)
    report.show_machine(machine.describe(facts))
    report.show_locks(found)
    report.show_watches(watched)
    report.show_missing(outcome)
    results: dict[str, Any] = {
        **options.facts("locks", facts, outcome),
        "versions": sorted({one.version for one in chosen if one.version and one.name not in outcome.left_out}),
        "rows": found,
        "watches": watched,
    }
    return [report.keep(results, options.out / "locks.json")], not outcome.failures
