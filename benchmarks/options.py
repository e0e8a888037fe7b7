"""What a run is told on its command line."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Case, Outcome, Subject

__all__ = ["Options", "parsed"]

S = TypeVar("S", bound="Subject")
_HERE: Final = Path(__file__).parent


class Options(argparse.Namespace):
    """The options, as `--help` tells them."""

    families: list[str]
    n: int
    freezes: int
    ttl: float
    only: list[str]
    cases: list[str]
    seed: int
    idle: float
    turns_for: float
    fires_for: float
    rounds: int
    schedules: int
    folder: Path | None
    peers_python: Path
    out: Path
    proof: bool

    def chosen(self, subjects: Sequence[S]) -> list[S]:
        """Those whose names have one of the wanted words; all, if there are none."""
        return [one for one in subjects if not self.only or any(word in one.name for word in self.only)]

    def wants(self, case: Case) -> bool:
        """Whether a case is one of those whose kind has one of the wanted words; all are, if there are none."""
        return not self.cases or any(word in case.kind for word in self.cases)

    def facts(self, family: str, machine: object, outcome: Outcome) -> dict[str, object]:
        """What stands in each file of results."""
        return {
            "family": family,
            "seed": self.seed,
            "n": self.n,
            "ttl": self.ttl,
            "machine": machine,
            "without": outcome.left_out,
            "failures": outcome.failures,
        }

    @staticmethod
    def say(line: str) -> None:
        """Tell how far it is."""
        sys.stderr.write(f"{line}\n")


def parsed(arguments: Sequence[str] | None, families: Sequence[str]) -> Options:
    """The options of a command line; a wrong one ends the process with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(families)}; all, if none is named"
    )
    parser.add_argument("--n", type=int, default=20, help="turns, and so takeovers of each kind (20)")
    parser.add_argument(
        "--freezes", type=int, help="turns with freezes, which take longest (a quarter of n, at least 3)"
    )
    parser.add_argument(
        "--ttl", type=float, default=5.0, help="of all subjects, in whole seconds; ZooKeeper's least is 4"
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="subjects whose names have one of these")
    parser.add_argument("--cases", nargs="+", metavar="WORD", default=[], help="kinds that have one of these (jobs)")
    parser.add_argument("--seed", type=int, default=0, help="of orders and phases; one is made up if none is given")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch idle instances (costs, stores)")
    parser.add_argument("--turns-for", type=float, default=3.0, help="seconds for which turns are taken (locks)")
    parser.add_argument("--fires-for", type=float, default=10.0, help="seconds for which lateness is told (jobs)")
    parser.add_argument("--rounds", type=int, default=1, help="turns, each of which takes some minutes (jobs)")
    parser.add_argument("--schedules", type=int, default=100_000, help="of the idle instance (jobs)")
    parser.add_argument("--folder", type=Path, help="for stores and servers' data; the system's temporary one if none")
    parser.add_argument(
        "--peers-python", type=Path, default=_HERE / ".venv/bin/python", help="who has the peers' libraries"
    )
    parser.add_argument("--out", type=Path, default=_HERE / "out", help="where the figures and pictures are written")
    parser.add_argument("--proof", action="store_true", help="keep them in docs/proof/ too")
    options = parser.parse_args(arguments, Options())
    if wrong := set(options.families) - set(families):
        parser.error(f"there is no family {sorted(wrong)}; there are {list(families)}")
    options.freezes = max(3, options.n // 4) if options.freezes is None else options.freezes
    options.seed = options.seed or random.randrange(1, 2**32)
    return options
