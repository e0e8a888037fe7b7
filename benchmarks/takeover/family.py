"""Takeovers of Locum and of others, in one run: tables, figures, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import limits, machine, report
from benchmarks.harness import interleave
from benchmarks.takeover import FROZEN, WATCHED
from benchmarks.takeover.ours import LocumSubject, LostMachineSubject
from benchmarks.takeover.peers import PEERS, PeerSubject
from benchmarks.takeover.picture import draw
from benchmarks.takeover.results import rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.harness import Subject
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
    peers = [PeerSubject(peer, python=options.peers_python, ttl=options.ttl, folder=folder) for peer in PEERS]
    ours = [LocumSubject(ttl=options.ttl, folder=folder), LostMachineSubject(ttl=options.ttl, folder=folder)]
    everyone: list[Subject] = [*ours, *peers]
    chosen = options.chosen(everyone)
    outcome = interleave(
        [limits.Limits(folder), *chosen], options.n, seed=options.seed, fewer={FROZEN: options.freezes}, say=options.say
    )
    found, bare = rows(outcome, options.ttl), report.limit_figures(outcome, limits.KIND)
    versions = [peer.version for peer in peers if peer.version and peer.name not in outcome.left_out]
    results: dict[str, Any] = {
        **options.facts("takeover", facts, outcome),
        "versions": versions,
        "limits": bare,
        "least after a death, ms": limits.least(outcome, death=True),
        "least in peace, ms": limits.least(outcome, death=False),
        "rows": found,
    }
    report.show_machine(machine.describe(facts))
    report.show_limits(bare)
    report.show_takeovers(found, options.ttl)
    report.show_missing(outcome)
    written = [report.keep(results, options.out / "takeover.json")]
    if found:
        notes = [f"{machine.describe(facts)}; seed {options.seed}", *_notes(versions, outcome.left_out)]
        picture = draw(found, ttl=options.ttl, least=limits.least(outcome, death=True), notes=notes)
        written.append(options.out / "takeover.svg")
        written[-1].write_text(picture)
    return written, not outcome.failures


def _notes(versions: Sequence[str], left_out: dict[str, str]) -> list[str]:
    of_peers = f"{', '.join(versions)}; their servers on the same machine, one node each" if versions else ""
    missing = [f"without {name}: {why}" for name, why in left_out.items()]
    return [
        *([of_peers] if of_peers else []),
        *missing,
        "below n = 100 the p99 is the largest",
        f"after a freeze the rows are watched for {WATCHED[FROZEN]:g} s",
    ]
