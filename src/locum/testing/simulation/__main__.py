"""`python -m locum.testing.simulation`: many seeds, or one with its trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from locum import exit_codes
from locum.testing.simulation.crowd import Tally, kept_seeds, simulate_many
from locum.testing.simulation.run import Outcome, simulate

_MODULE = "locum.testing.simulation"


def main() -> None:
    """Run whole clusters in virtual time, one seed a run, until one shows what must never be."""
    given = _arguments()
    if given.seed is not None:
        outcome = simulate(given.seed, trace=given.trace)
        _say(
            f"seed {given.seed}: history {outcome.digest}, {outcome.changes} changes of term,"
            f" {outcome.turns} turns with the lock, settled after {outcome.settled:.2f} TTLs;"
            f" faults: {', '.join(outcome.kinds)}"
        )
        _leave(outcome)
        return
    seeds = [
        *(kept_seeds(given.kept) if given.kept else ()),
        *range(given.first, given.first + given.seeds * given.step, given.step),
    ]
    tally = simulate_many(seeds, workers=given.workers, told=lambda tally: _progress(tally, len(seeds)))
    if sys.stdout.isatty():
        _say("")
    _say(
        f"{tally.seeds} seeds in {tally.took:.1f} s: {tally.rate:.1f} seeds/s; {tally.counted} count (a fault"
        f" struck and a term changed), {tally.changes} changes of term, {tally.turns} turns with the lock, settled"
        f" within {tally.slowest:.2f} TTLs"
    )
    _say("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(tally.kinds.items())))
    if tally.failed is not None:
        _leave(tally.failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run (200)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--step", type=int, default=1, help="from one to the next (1); each eighth has locks and nodes")
    parser.add_argument("--kept", type=Path, help="a file of seeds that are run before them")
    parser.add_argument("--workers", type=int, help="how many at once (as many as there are cores)")
    parser.add_argument("--seed", type=int, help="run this one seed only")
    parser.add_argument("--trace", action="store_true", help="write down what happens in it")
    return parser.parse_args()


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def _progress(tally: Tally, of: int) -> None:
    if sys.stdout.isatty():
        _say(f"\r{tally.seeds} of {of} seeds, {tally.rate:.1f} seeds/s ", end="")


def _leave(outcome: Outcome) -> None:
    if not outcome.violations:
        return
    _say(f"seed {outcome.seed} FAILED, history {outcome.digest}:")
    for violation in outcome.violations:
        _say(f"  {violation}")
    _say(f"replay: python -m {_MODULE} --seed {outcome.seed} --trace")
    raise SystemExit(exit_codes.SERVICE_FAILED)


if __name__ == "__main__":
    main()
