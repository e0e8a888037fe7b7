"""The command line as a process of its own, in a folder with a small host."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BILLING = """
from locum import Host, Stopping, Term

print("this module prints while it is imported")
host = Host("billing", ttl=4.0)

@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.1):
        pass

@host.background
async def poll(stopping: Stopping) -> None:
    async for _ in stopping.every(1):
        pass
"""
LONG = 20.0
BEGUN: list[subprocess.Popen[str]] = []
"""Every process that was begun."""


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUM_")}


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "locum", *arguments],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    BEGUN.append(process)
    return process


def locum(folder: Path, *arguments: str) -> Said:
    process = begin(folder, *arguments)
    return _outcome(process)


def on_terminal(folder: Path, width: int, *arguments: str) -> list[str]:
    """The lines that a command shows on a terminal of so many characters, without their colours."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "locum", *arguments],
        cwd=folder,
        env={**environment(), "COLUMNS": str(width), "TERM": "xterm"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:
        pass  # so a terminal says that nobody writes any more
    os.close(ours)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def children(pid: int) -> list[int]:
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def end(process: subprocess.Popen[str]) -> Said:
    """Tell it to stop, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return _outcome(process)


def _outcome(process: subprocess.Popen[str]) -> Said:
    try:
        out, err = process.communicate(timeout=LONG)
    except subprocess.TimeoutExpired:
        process.kill()  # what it started dies with it
        process.communicate()
        raise
    return Said(process.returncode, out, err)
