"""Checks the two models of the protocol exhaustively, and that each rule taken out breaks its property (`make model`).

Usage: run.py: each model as it is must hold in all of its states, and with each flag spin must find a counter-example.
Leaves with 1 if anything is not as it should be. docs/proof/model.md says what the models say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TOGETHER = 2
LONGEST = 600

PROPERTIES = {
    "two bodies": 1,
    "a dead session lives": 2,
    "falling token": 3,
    "stale write": 4,
    "a holder who does not know": 5,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One check.

    Attributes:
        model: Which model, by its file's name.
        flag: What is taken out of it; empty: nothing.
        breaks: The property that it then breaks; empty: it must hold in all states.
    """

    model: str
    flag: str = ""
    breaks: str = ""


ROWS = (
    Row("lease"),
    Row("grant"),
    Row("lease", "NO_R1", "two bodies"),
    Row("lease", "NO_R1", "a dead session lives"),
    Row("lease", "NO_R3", "two bodies"),
    Row("lease", "NO_R3_OPEN", "a dead session lives"),
    Row("lease", "NO_R4", "two bodies"),
    Row("lease", "NO_R4_EARLY", "two bodies"),
    Row("lease", "NO_R6", "two bodies"),
    Row("lease", "NO_R7", "two bodies"),
    Row("lease", "NO_R8", "two bodies"),
    Row("lease", "NO_R9", "two bodies"),
    Row("lease", "NO_R13", "two bodies"),
    Row("lease", "NO_R15", "two bodies"),
    Row("lease", "NO_R29", "two bodies"),
    Row("grant", "NO_R13", "two bodies"),
    Row("grant", "NO_R13_KEPT", "falling token"),
    Row("grant", "NO_R14", "two bodies"),
    Row("grant", "NO_R16", "a holder who does not know"),
    Row("grant", "NO_R18_ENDED", "two bodies"),
    Row("grant", "NO_R18_REVISION", "two bodies"),
    Row("grant", "NO_R18_RESUMED", "two bodies"),
    Row("grant", "NO_R20", "falling token"),
    Row("grant", "NO_R20_ORDER", "falling token"),
    Row("grant", "NO_R21_RAISE", "stale write"),
    Row("grant", "NO_R21_CHECK", "stale write"),
    Row("grant", "NO_R25", "falling token"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What spin found.

    Attributes:
        row: The check.
        good: Whether it is as it should be.
        states: How many states were stored.
        depth: The steps of the counter-example, or of the longest way.
        took: Seconds, building included.
        trouble: What is wrong, in words.
    """

    row: Row
    good: bool
    states: int = 0
    depth: int = 0
    took: float = 0.0
    trouble: str = ""

    def __str__(self) -> str:
        name = f"{self.row.model} {self.row.flag or 'as it is'}"
        if not self.good:
            return f"WRONG    {name}: {self.trouble}"
        found = f"{self.row.breaks} after {self.depth} steps" if self.row.breaks else "holds in all states"
        return (
            f"{'broken' if self.row.breaks else 'holds':<8} {name}: {found} ({self.states:,} states, {self.took:.1f} s)"
        )


def missing() -> list[str]:
    """Which of the programs that this takes are not here."""
    return [name for name in ("spin", "gcc") if shutil.which(name) is None]


def judge(row: Row, *definitions: str) -> Verdict:
    """Build the verifier of one row, and run it.

    Args:
        row: The check.
        definitions: More for the preprocessor, such as `TAKES=2`.
    """
    started = time.monotonic()
    defined = [f"-D{each}" for each in (row.flag, *definitions) if each]
    if row.breaks:
        defined.append(f"-DCHECK={PROPERTIES[row.breaks]}")
    # A model as it is takes every way to its end. With a flag the shortest counter-example is looked for, or, where the
    # ways are many (time), any one of at most 100 steps, which takes a tenth of the time.
    shortest = bool(row.breaks) and row.model == "grant"
    build = ["-O1" if row.breaks else "-O2", *(["-DBFS"] if shortest else [])]
    limits = ["-w22"] if shortest else ["-m100", "-w22"] if row.breaks else ["-m4000000", "-w26"]
    said = ""
    with tempfile.TemporaryDirectory(prefix="locum-model-") as name:
        for command in (
            ["spin", "-a", *defined, str(HERE / f"{row.model}.pml")],
            ["gcc", "-w", "-DSAFETY", "-DNOFAIR", *build, "-o", "pan", "pan.c"],
            ["./pan", "-E", *limits],
        ):
            try:
                ran = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=LONGEST)
            except subprocess.TimeoutExpired:
                return Verdict(row, False, trouble=f"{command[0]} did not end in {LONGEST} s")
            if ran.returncode:
                return Verdict(row, False, trouble=f"{command[0]} failed:\n{ran.stdout[-1000:]}{ran.stderr[-1000:]}")
            said = ran.stdout
    return read(row, said, time.monotonic() - started)


def read(row: Row, said: str, took: float) -> Verdict:
    """What the verifier said: an intact model counts only if nothing was cut off."""
    violated = re.search(r"assertion violated .*\(at depth (\d+)\)", said)
    stored = re.search(r"(\d+) states, stored", said)
    reached = re.search(r"depth reached (\d+), errors: (\d+)", said)
    if stored is None or reached is None:
        return Verdict(row, False, trouble=f"it said nothing that can be read:\n{said[-1000:]}")
    states, errors = int(stored[1]), int(reached[2])
    if row.breaks:
        if violated is None:
            return Verdict(row, False, trouble=f"no counter-example to '{row.breaks}' in {states:,} states")
        return Verdict(row, True, states, int(violated[1]), took)
    cut_off = "max search depth too small" in said or "Search not completed" in said
    if errors or violated or cut_off:
        what = f"it does not hold: {violated[0]}" if violated else "the search was not exhaustive"
        return Verdict(row, False, trouble=what)
    return Verdict(row, True, states, int(reached[1]), took)


def main() -> int:
    """Judge all rows, and tell."""
    if gone := missing():
        print(f"{' and '.join(gone)} not found; as root: tests/servers/install.sh model", file=sys.stderr)
        return 1
    wrong = 0
    with ThreadPoolExecutor(TOGETHER) as together:
        for verdict in together.map(judge, ROWS):
            print(verdict, flush=True)
            wrong += not verdict.good
    print(f"{len(ROWS) - wrong} of {len(ROWS)} are as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
