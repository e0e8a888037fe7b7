"""The programs of the pages about recipes run as they stand there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import programs

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = [
    (page, number, text)
    for page in ("locks.md", "read-write-locks.md", "semaphores.md", "barriers.md", "elections.md", "nodes.md")
    for number, text in enumerate(programs(f"docs/how-to/{page}"))
]
SAYS = {
    ("locks.md", 0): "token 1\nb'sent'\n",
    ("read-write-locks.md", 0): "token 1\n",
    ("barriers.md", 0): "loaded 1\nloaded 2\nall are loaded\nall are loaded\n",
    ("nodes.md", 0): "it is b'20'\n[b'first', b'second']\nwatched b'20'\n",
}


@pytest.mark.parametrize(("page", "number", "text"), PROGRAMS, ids=[f"{page}-{number}" for page, number, _ in PROGRAMS])
def test_it_runs(page: str, number: int, text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == SAYS.get((page, number), done.stdout)
