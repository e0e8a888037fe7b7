"""Seeds in small number; `make simulate` runs as many as one likes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from locum.testing.simulation.crowd import kept_seeds
from locum.testing.simulation.run import Outcome, simulate

KEPT = Path(__file__).with_name("seeds.txt")
FIRST, SEEDS, AT_ONCE = 100_000, 48, 8


def test_every_seed_that_ever_failed_passes() -> None:
    for seed in kept_seeds(KEPT):
        assert not simulate(seed).violations, f"seed {seed}"


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_seeds(first: int) -> None:
    outcomes = [simulate(seed) for seed in range(first, first + AT_ONCE)]
    assert [outcome for outcome in outcomes if outcome.violations] == []
    assert any(outcome.counts for outcome in outcomes), "no fault struck, or no term changed: this proves nothing"
    assert any(outcome.turns for outcome in outcomes), "nobody held the lock: this proves nothing of it"


def test_a_replay_is_exact_in_another_process_with_other_hashes() -> None:
    seeds = range(3)
    script = (
        "from locum.testing.simulation.run import simulate\n"
        f"print(*[simulate(seed).digest for seed in range({len(seeds)})])"
    )
    for hashes in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [simulate(seed).digest for seed in seeds]


def test_different_seeds_are_different_runs() -> None:
    outcomes: list[Outcome] = [simulate(seed) for seed in range(3)]
    assert len({outcome.digest for outcome in outcomes}) == len(outcomes)
