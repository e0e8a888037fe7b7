"""Locum on each store, beside the peers that share a kind of server with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import limits, machine, report
from benchmarks.harness import interleave
from benchmarks.stores import calls
from benchmarks.stores.results import rows
from benchmarks.stores.subjects import everyone
from benchmarks.takeover import FROZEN
from benchmarks.takeover.peers import PEERS, PeerSubject

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Subject
    from benchmarks.options import Options

__all__ = ["measure"]

_BESIDE: Final = ("redis-py Lock, renewed", "kazoo Election + listener")


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For what the subjects write.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    stores = everyone(ttl=options.ttl, folder=folder)
    peers = [peer for peer in PEERS if peer.label in _BESIDE]
    subjects: list[Subject] = [
        *stores,
        *(PeerSubject(peer, python=options.peers_python, ttl=options.ttl, folder=folder) for peer in peers),
    ]
    chosen = options.chosen(subjects)
    outcome = interleave(
        [limits.Limits(folder), *chosen], options.n, seed=options.seed, fewer={FROZEN: 0}, say=options.say
    )
    found = rows(outcome, [one.name for one in chosen])
    counts = {}
    for store in stores:
        if store in chosen and store.name not in outcome.left_out:
            with store:
                counts[store.name] = calls.counted(
                    folder, store, seconds=options.idle, say=options.say, failures=outcome.failures
                )
    report.show_machine(machine.describe(facts))
    report.show_stores(found, options.ttl)
    for name, counted in counts.items():
        report.show_costs(f"{name}: how often it is asked", counted)
    report.show_missing(outcome)
    results: dict[str, Any] = {
        **options.facts("stores", facts, outcome),
        "rows": found,
        "calls": counts,
    }
    return [report.keep(results, options.out / "stores.json")], not outcome.failures
