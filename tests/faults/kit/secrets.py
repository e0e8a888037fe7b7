"""Whether a password was told to somebody: a canary is searched for wherever instances leave a word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster

__all__ = ["ANOTHER", "CANARY", "command_lines_told", "secrets_in"]

CANARY: Final = "c4n4ry-of-the-password"
ANOTHER: Final = "an0ther-c4n4ry"
_SECRET: Final = re.compile(f"{CANARY}|{ANOTHER}".encode())


def secrets_in(cluster: Cluster, *, server: bytes) -> list[str]:
    """Where a password is told: in what instances say, in the store, on command lines but the server's own."""
    told = [one.name for one in cluster.instances if _SECRET.search(one.output.read_bytes())]
    if _SECRET.search(cluster.window.describe(cluster.service).encode()):
        told.append("the store")
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = line.read_bytes()
        except OSError:
            continue
        if _SECRET.search(text) and server not in text and b"--store" not in text:
            told.append(text.decode())
    return told


def command_lines_told(cluster: Cluster, shown: str) -> None:
    """What `status`, `journal` and `doctor` say of a store whose URL has a password: its name, and never that."""
    for command in ("status", "journal", "doctor"):
        told = subprocess.run(
            [sys.executable, "-m", "locum", command, "--store", cluster.url, "--namespace", "faults"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        )
        assert shown in told.stdout + told.stderr or command == "journal"
        assert CANARY not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr, told.stderr
