"""`python -m locum.testing.simulation`: many seeds, or one with its trace."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from locum import exit_codes
from locum.testing.simulation.crowd import Tally, kept_seeds, simulate_many
from locum.testing.simulation.run import Outcome, simulate

_MODULE = "locum.testing.simulation"


@click.command()
@click.option("--seeds", default=200, show_default=True, help="How many seeds to run.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--kept", type=click.Path(path_type=Path, exists=True), help="A file of seeds that are run before them.")
@click.option("--workers", type=int, help="How many at once; as many as there are cores by default.")
@click.option("--seed", type=int, help="Run this one seed only.")
@click.option("--trace", is_flag=True, help="Write down what happens in it.")
def main(seeds: int, first: int, kept: Path | None, workers: int | None, seed: int | None, trace: bool) -> None:
    """Run whole clusters in virtual time, one seed a run, until one shows what must never be."""
    if seed is not None:
        outcome = simulate(seed, trace=trace)
        click.echo(
            f"seed {seed}: history {outcome.digest}, {outcome.changes} changes of term,"
            f" settled after {outcome.settled:.2f} TTLs; faults: {', '.join(outcome.kinds)}"
        )
        _leave(outcome)
        return
    wanted = [*(kept_seeds(kept) if kept else ()), *range(first, first + seeds)]
    tally = simulate_many(wanted, workers=workers, told=lambda tally: _progress(tally, len(wanted)))
    if sys.stdout.isatty():
        click.echo()
    click.echo(
        f"{tally.seeds} seeds in {tally.took:.1f} s: {tally.rate:.1f} seeds/s; {tally.counted} count (a fault"
        f" struck and a term changed), {tally.changes} changes of term, settled within {tally.slowest:.2f} TTLs"
    )
    click.echo("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(tally.kinds.items())))
    if tally.failed is not None:
        _leave(tally.failed)


def _progress(tally: Tally, of: int) -> None:
    if sys.stdout.isatty():
        click.echo(f"\r{tally.seeds} of {of} seeds, {tally.rate:.1f} seeds/s ", nl=False)


def _leave(outcome: Outcome) -> None:
    if not outcome.violations:
        return
    click.echo(f"seed {outcome.seed} FAILED, history {outcome.digest}:")
    for violation in outcome.violations:
        click.echo(f"  {violation}")
    click.echo(f"replay: python -m {_MODULE} --seed {outcome.seed} --trace")
    raise SystemExit(exit_codes.SERVICE_FAILED)


if __name__ == "__main__":
    main()
