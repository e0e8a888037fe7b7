"""`locum lock`: the command runs while the lock is held, and not a moment longer than anybody may count on (F61)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Begin = Callable[..., subprocess.Popen[str]]

TICKS = """
import sys, time
while True:
    print(time.monotonic(), file=open(sys.argv[1], "a"), flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "locum", "lock", "--store", "sqlite:///store.db", "--namespace", "billing"]
        process = subprocess.Popen(
            [*line, *arguments], cwd=tmp_path, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        for pid in (*descendants(process.pid), process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.communicate()


def descendants(pid: int) -> list[int]:
    """The nearest last."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [one for child in children for one in (*descendants(child), child)]


def ticks(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_command_finds_the_token_and_its_exit_code_is_passed_on(begin: Begin) -> None:
    out, err = (process := begin("a", "--", "sh", "-c", "echo $LOCUM_TOKEN; exit 7")).communicate()
    assert (out, err, process.returncode) == ("1\n", "", 7)
    out, _ = begin("--token-env", "FENCE", "a", "--", "sh", "-c", "echo $FENCE").communicate()
    assert out == "2\n"
    _, err = (process := begin("a", "--", "there-is-no-such-command")).communicate()
    assert (err, process.returncode) == ("locum: there-is-no-such-command: there is no such command.\n", 127)


def test_options_stand_before_the_name_or_behind_it_and_the_commands_own_are_its_own(begin: Begin) -> None:
    for words in (
        ("--wait", "9", "a", "--", "echo", "--wait", "--", "-x"),
        ("a", "--wait", "9", "--", "echo", "--wait", "--", "-x"),
        ("a", "--wait", "9", "echo", "--wait", "--", "-x"),
    ):
        out, err = begin(*words).communicate()
        assert (out, err) == ("--wait -- -x\n", "")
    for too_few in ((), ("a",), ("a", "--wait", "9")):
        _, err = (process := begin(*too_few)).communicate()
        assert "Missing argument" in err
        assert process.returncode == exit_codes.USAGE


def test_who_does_not_get_it_in_time_is_told_and_a_signal_reaches_the_command(begin: Begin, tmp_path: Path) -> None:
    holder = begin("a", "--", sys.executable, "-c", TICKS, "ticks")
    until(lambda: ticks(tmp_path / "ticks"), "the command")
    out, err = (other := begin("--wait", "0", "--conflict-exit-code", "9", "a", "--", "echo", "no")).communicate()
    assert (out, other.returncode) == ("", 9)
    assert "lock/a was not ours within 0 s" in err
    holder.send_signal(signal.SIGTERM)
    assert holder.wait() == exit_codes.forced_by(signal.SIGTERM)
    out, _ = begin("a", "--", "echo", "mine").communicate()
    assert out == "mine\n"


@pytest.mark.parametrize("active", [False, True])
def test_f61_whoever_lost_it_ends_its_command(begin: Begin, tmp_path: Path, active: bool) -> None:
    flags = ["--ttl", "1.5", *(["--active"] if active else [])]
    holder = begin(*flags, "a", "--", sys.executable, "-c", TICKS, "ticks")
    until(lambda: ticks(tmp_path / "ticks"), "the command")
    with closing(sqlite3.connect(tmp_path / "store.db", timeout=30)) as store, store:
        store.execute("UPDATE locum_sessions SET closed = 1")
    assert holder.wait() == exit_codes.FENCED
    written = ticks(tmp_path / "ticks")
    out, _ = begin(*flags, "a", "--", "echo", "mine").communicate()
    assert out == "mine\n"
    assert ticks(tmp_path / "ticks") == written


def test_f61_a_frozen_holder_has_no_command_any_more_when_another_has_the_lock(begin: Begin, tmp_path: Path) -> None:
    holder = begin("--ttl", "1.5", "a", "--", sys.executable, "-c", TICKS, "ticks")
    until(lambda: ticks(tmp_path / "ticks"), "the command")
    family = descendants(holder.pid)
    for pid in (holder.pid, family[-1]):  # who watches over it, and who holds the lock; the command runs on
        os.kill(pid, signal.SIGSTOP)
    out, _ = begin("--ttl", "1.5", "a", "--", "sh", "-c", "wc -l < ticks; sleep 0.2; wc -l < ticks").communicate()
    before, after = out.split()
    assert before == after, "it worked on beside the next one"
    holder.send_signal(signal.SIGCONT)
    assert holder.wait() == exit_codes.FENCED
