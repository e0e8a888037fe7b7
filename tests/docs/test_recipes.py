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
    for page in (
        "locks.md",
        "read-write-locks.md",
        "semaphores.md",
        "barriers.md",
        "elections.md",
        "nodes.md",
        "members.md",
        "service-clients.md",
        "fences.md",
        "jobs.md",
        "jobs-missed-times.md",
        "jobs-overlaps.md",
        "jobs-slices.md",
    )
    for number, text in enumerate(programs(f"docs/how-to/{page}"))
]
SAYS = {
    ("jobs-missed-times.md", 0): (
        "latest: runs [15], dropped: 12 to 14\nnone: runs [], dropped: 12 to 15\n"
        "earliest: runs [12], dropped: 13 to 15\nall: runs [14, 15], dropped: 12 to 13\n"
    ),
    ("jobs-overlaps.md", 0): (
        "skip skip skip\nbuffer_one wait skip\nbuffer_all wait wait\ncancel_running replace replace\n"
    ),
    ("jobs-slices.md", 0): "sum 499500 of 10 slices\n",
    ("locks.md", 0): "token 1\nb'sent'\n",
    ("read-write-locks.md", 0): "token 1\n",
    ("barriers.md", 0): "loaded 1\nloaded 2\nall are loaded\nall are loaded\n",
    ("members.md", 0): ("web-1 1.4 0.7 {'zone': 'a'}\nweb-2 1.5 None {}\n['web-1', 'web-2']\nleft 0 joined 1\n"),
    ("service-clients.md", 0): "200 served in term 1\n",
    ("fences.md", 0): (
        "the fence of shop/lock/books refuses token 1: it has seen 2; roll back and stop working under it\n[(1,)]\n"
    ),
    ("nodes.md", 0): "it is b'20'\n[b'first', b'second']\nwatched b'20'\n",
    ("jobs.md", 0): (
        "settle 2026-01-30 after None\nsettle 2026-01-31 after 2026-01-30\n[('succeeded', 1), ('succeeded', 2)]\n"
    ),
}


@pytest.mark.parametrize(("page", "number", "text"), PROGRAMS, ids=[f"{page}-{number}" for page, number, _ in PROGRAMS])
def test_it_runs(page: str, number: int, text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == SAYS.get((page, number), done.stdout)
