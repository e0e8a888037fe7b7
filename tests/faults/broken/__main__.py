"""Breaks one rule at a time, and sees to it that its test notices.

Usage: python -m tests.faults.broken [NAME...]: all patches beside this file, or those whose names begin so. Each is
applied to a copy of the tree, where the test that its first line names is run: it must fail, by an assertion. Leaves
with 1 if one does not.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.patches import UnbrokenError, broken_copy, chosen, header

HERE = Path(__file__).parent
TOGETHER = 2  # the tests start real instances: more of them would only wait for each other
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one patch.

    Attributes:
        name: The patch.
        noticed: Whether its test failed, and by an assertion.
        why: The assertion that failed, or what happened instead.
    """

    name: str
    noticed: bool
    why: str

    def __str__(self) -> str:
        return f"{'noticed' if self.noticed else 'NOT NOTICED':<11}  {self.name}: {self.why}"


def judge(patch: Path) -> Verdict:
    """Apply a patch to a copy of the tree and run its test there."""
    test = header(patch, "test")
    try:
        with broken_copy(patch) as copy:
            tested = copy.run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test, timeout=LONGEST)
    except UnbrokenError as error:
        return Verdict(patch.name, False, str(error))
    except subprocess.TimeoutExpired:
        return Verdict(patch.name, False, "its test did not end")
    if tested.returncode == 0:
        return Verdict(patch.name, False, f"{test} passes")
    said = [line for line in tested.stdout.splitlines() if line.startswith("E ")]  # and not the test's own text
    failed = next((line for line in said if "assert" in line.lower()), None)
    if tested.returncode != 1 or failed is None:
        return Verdict(patch.name, False, f"{test} fails, but not by an assertion:\n{tested.stdout[-2000:]}")
    return Verdict(patch.name, True, failed.removeprefix("E").strip()[:160])


def main(names: list[str]) -> int:
    """Judge the patches, and tell."""
    patches = chosen(HERE, names)
    failed = 0
    with ThreadPoolExecutor(TOGETHER) as together:
        for verdict in together.map(judge, patches):
            print(verdict, flush=True)
            failed += not verdict.noticed
    print(f"{len(patches) - failed} of {len(patches)} were noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
