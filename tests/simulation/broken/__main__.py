"""Breaks one rule at a time, and sees to it that the simulation notices, and within how many seeds.

Usage: python -m tests.simulation.broken [NAME...]: all patches beside this file, or those whose names begin so. Each is
applied to a copy of the sources, and seeds are run there: at the latest the one whose number the patch states must
fail (`200 by 8 from 4`: of 200 seeds, each the eighth after the one before, 4 the first). Leaves with 1 if none does.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.patches import UnbrokenError, broken_copy, chosen, header

HERE = Path(__file__).parent
LONGEST = 1800
_SEEDS = re.compile(r"(\d+)(?: by (\d+))?(?: from (\d+))?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one patch: how many seeds it took, of how many, and what was seen; 0 if it was not noticed."""

    name: str
    breaks: str
    stated: int
    took: int
    why: str

    def __str__(self) -> str:
        return f"| {self.breaks} | {self.took or 'NOT NOTICED'} | {self.stated} | {self.why} |"


def judge(patch: Path) -> Verdict:
    """Apply a patch to a copy of the sources and run seeds there."""
    breaks, seeds = header(patch, "breaks"), _SEEDS.fullmatch(header(patch, "seeds"))
    assert seeds is not None, f"{patch.name} does not say how many seeds"
    stated, step, first = int(seeds[1]), int(seeds[2] or 1), int(seeds[3] or 0)
    try:
        with broken_copy(patch) as copy:
            which = ("--seeds", str(stated), "--step", str(step), "--first", str(first))
            ran = copy.run("-m", "locum.testing.simulation", *which, timeout=LONGEST)
    except UnbrokenError as error:
        return Verdict(patch.name, breaks, stated, 0, str(error))
    failed = re.search(r"^seed (\d+) FAILED.*\n {2}([^:\n]+)", ran.stdout, re.MULTILINE)
    if failed is None:
        why = "all seeds pass" if ran.returncode == 0 else ran.stderr[-500:]
        return Verdict(patch.name, breaks, stated, 0, why)
    return Verdict(patch.name, breaks, stated, (int(failed[1]) - first) // step + 1, failed[2])


def main(names: list[str]) -> int:
    """Judge the patches, and tell."""
    patches = chosen(HERE, names)
    print("| taken out | seeds until found | stated | seen as |\n| --- | --- | --- | --- |")
    failed = 0
    for patch in patches:
        verdict = judge(patch)
        print(verdict, flush=True)
        failed += not verdict.took
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
