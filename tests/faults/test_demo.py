"""F13 and the demo itself: one short run of every kind of injury, from the command line to the audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.places import SERVERS
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from tests.faults.kit.places import Place

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
    audited(tmp_path)


@pytest.mark.stores(*SERVERS, thorough=True)
@pytest.mark.timeout(150)
def test_the_demo_is_the_same_on_any_store(tmp_path: Path, place: Place) -> None:
    (folder := tmp_path / "demo").mkdir()
    audited(folder, "--store", place.url)


@pytest.mark.timeout(60)
def test_a_second_demo_on_a_store_is_refused_and_the_first_one_does_not_notice(tmp_path: Path) -> None:
    store = ("--store", "sqlite:///shared.db")
    first = demo("--seconds", "8", "--kills", "0", *store, folder=tmp_path)
    assert first.stdout is not None
    while "is active" not in first.stdout.readline():
        pass
    second = demo("--seconds", "8", "--kills", "0", *store, folder=tmp_path)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 78
    assert "another demo runs on this store already" in err
    _, err = first.communicate(timeout=40)
    assert first.returncode == 0, err
    assert (tmp_path / "shared.db").exists()


@pytest.mark.parametrize(
    ("store", "code", "words"),
    [
        ("mango://here", 78, "mango"),
        ("sqlite:////nowhere/at/all.db", 78, "/nowhere/at"),
        ("redis://127.0.0.1:1", 69, "127.0.0.1:1"),
    ],
    ids=["unknown", "nowhere", "unreachable"],
)
def test_a_store_that_is_none_is_told_at_once(tmp_path: Path, store: str, code: int, words: str) -> None:
    process = demo("--store", store, folder=tmp_path)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, words in err) == (code, True), err
    assert list(tmp_path.iterdir()) == []


def audited(folder: Path, *options: str) -> None:
    """A run that finds nothing, and leaves nothing."""
    process = demo("--seconds", "10", "--kills", "4", "--json", *options, folder=folder)
    out, err = process.communicate(timeout=140)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [takeover["kind"] for takeover in found["takeovers"]] == KINDS
    assert found["orders"]["created"] == found["orders"]["published"] == 500
    assert found["overlap_ms"] == found["stale_writes_accepted"] == 0
    assert instances_in(folder) == []
    assert list(folder.iterdir()) == []


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
