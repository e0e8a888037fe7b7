"""Kept patches that break one rule each: what they say of themselves, and a copy of the tree with one applied."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BrokenCopy", "UnbrokenError", "broken_copy", "chosen", "header"]

ROOT: Final = Path(__file__).parents[1]
_PARTING: Final = 30.0


class UnbrokenError(Exception):
    """A copy that would not show what the patch breaks."""


@dataclass(frozen=True, slots=True)
class BrokenCopy:
    """A copy of the tree in which one rule is broken."""

    folder: Path

    def run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy, whose sources come first."""
        return self._run(sys.executable, *arguments, timeout=timeout)

    def apply(self, patch: Path) -> None:
        """Apply a patch, which must fit."""
        found = self.run("-c", "import locum; print(locum.__file__)", timeout=60).stdout.strip()
        if not found.startswith(str(self.folder)):
            raise UnbrokenError(f"the copy would not be tested, but {found}")
        applied = self._run("patch", "-p1", "--forward", "--batch", "-i", str(patch), timeout=60)
        if applied.returncode:
            raise UnbrokenError(f"it does not apply:\n{applied.stdout}{applied.stderr}")

    def _run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOCUM_THOROUGH": "1",
        }
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                out, errors = process.communicate(timeout=timeout)
            except BaseException:
                process.send_signal(signal.SIGINT)  # so that it ends the servers and instances that it has started
                try:
                    process.communicate(timeout=_PARTING)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, errors)


@contextmanager
def broken_copy(patch: Path) -> Iterator[BrokenCopy]:
    """A copy of the sources, tests, examples and pages, with the patch applied.

    Raises:
        UnbrokenError: It would show nothing.
    """
    with tempfile.TemporaryDirectory(prefix="locum-broken-") as name:
        copy = BrokenCopy(Path(name))
        unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
        for part in ("src", "tests", "examples", "docs"):
            shutil.copytree(ROOT / part, copy.folder / part, ignore=unwanted)
        shutil.copy2(ROOT / "pyproject.toml", copy.folder)
        copy.apply(patch)
        yield copy


def header(patch: Path, key: str) -> str:
    """What a patch says of itself behind `# key: ` in one of its first lines."""
    for line in patch.read_text().splitlines():
        if line.startswith(f"# {key}: "):
            return line.partition(": ")[2].strip()
    raise SystemExit(f"{patch.name} has no line '# {key}: ...'")


def chosen(folder: Path, names: list[str]) -> list[Path]:
    """The patches of a folder: all, or those whose names begin with one of these."""
    patches = sorted(folder.glob("*.patch"))
    if names:
        patches = [patch for patch in patches if patch.name.startswith(tuple(names))]
    if not patches:
        raise SystemExit(f"no patch here is called {' or '.join(names)}")
    return patches
