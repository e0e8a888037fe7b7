"""F13 and the demo itself: one short run of every kind of injury, from the command line to the audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.kit.waiting import until

KINDS = ["worker-killed", "instance-killed", "frozen", "resigned"]


def demo(*options: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "locum", "demo", *options],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def instances_in(folder: Path) -> list[int]:
    """The living processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_there = (process / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue  # it has ended, or is a zombie
        if is_there:
            found.append(int(process.name))
    return found


@pytest.mark.timeout(150)
def test_every_kind_of_injury_is_taken_over_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    process = demo("--seconds", "10", "--kills", "4", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=140)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [takeover["kind"] for takeover in found["takeovers"]] == KINDS
    assert found["orders"]["created"] == found["orders"]["published"] == 500
    assert found["overlap_ms"] == found["stale_writes_accepted"] == 0
    assert instances_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_goes_on_when_the_demo_is_ended(tmp_path: Path, number: int) -> None:
    process = demo("--seconds", "60", "--kills", "0", folder=tmp_path)
    assert process.stdout is not None
    while "is active" not in process.stdout.readline():
        pass
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    # those of a demo that was killed notice it by themselves
    until(lambda: not instances_in(tmp_path), "the end of every instance")
