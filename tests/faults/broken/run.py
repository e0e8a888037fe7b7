"""Breaks one rule at a time, and sees to it that its test notices.

Usage: run.py [NAME...]: all patches beside this file, or those whose names begin so. Each is applied to a copy of the
tree, where the test that its first line names is run: it must fail, by an assertion. Leaves with 1 if one does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
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


def header(patch: Path, key: str) -> str:
    """What a patch says of itself behind `# key: ` in one of its first lines."""
    for line in patch.read_text().splitlines():
        if line.startswith(f"# {key}: "):
            return line.partition(": ")[2].strip()
    raise SystemExit(f"{patch.name} has no line '# {key}: ...'")


def copy_tree(folder: Path) -> None:
    """The parts of the tree that a test needs."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    shutil.copy2(ROOT / "pyproject.toml", folder)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run something in a copy of the tree, whose sources come first."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST)


def judge(patch: Path) -> Verdict:
    """Apply a patch to a copy of the tree and run its test there."""
    test = header(patch, "test")
    with tempfile.TemporaryDirectory(prefix="locum-broken-") as name:
        folder = Path(name)
        copy_tree(folder)
        found = run(folder, sys.executable, "-c", "import locum; print(locum.__file__)").stdout.strip()
        if not found.startswith(name):
            return Verdict(patch.name, False, f"the copy would not be tested, but {found}")
        applied = run(folder, "patch", "-p1", "--forward", "--batch", "-i", str(patch))
        if applied.returncode:
            return Verdict(patch.name, False, f"it does not apply:\n{applied.stdout}{applied.stderr}")
        try:
            tested = run(folder, sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test)
        except subprocess.TimeoutExpired:
            return Verdict(patch.name, False, "its test did not end")
    if tested.returncode == 0:
        return Verdict(patch.name, False, f"{test} passes")
    if tested.returncode != 1 or "AssertionError" not in tested.stdout:
        return Verdict(patch.name, False, f"{test} fails, but not by an assertion:\n{tested.stdout[-2000:]}")
    failed = next(line for line in tested.stdout.splitlines() if line.startswith("E") and "AssertionError" in line)
    return Verdict(patch.name, True, failed.removeprefix("E").strip()[:160])


def main(names: list[str]) -> int:
    """Judge the patches, and tell."""
    patches = sorted(HERE.glob("*.patch"))
    if names:
        patches = [patch for patch in patches if patch.name.startswith(tuple(names))]
    if not patches:
        raise SystemExit(f"no patch here is called {' or '.join(names)}")
    failed = 0
    with ThreadPoolExecutor(TOGETHER) as together:
        for verdict in together.map(judge, patches):
            print(verdict, flush=True)
            failed += not verdict.noticed
    print(f"{len(patches) - failed} of {len(patches)} were noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
