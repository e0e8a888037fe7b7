"""`locum lock`: the command runs while the lock is held, and not a moment longer than anybody may count on (F61)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.faults.kit.places import SERVERS, ServerPlace
from tests.faults.kit.waiting import LONG, until
from tests.faults.kit.window import Window
from tests.faults.kit.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.faults.kit.places import Place

    Begin = Callable[..., subprocess.Popen[str]]

NAMESPACE = "billing"
TTL = 1.5
SHORT = ("--ttl", str(TTL))

TICKS = """
import sys, time
while True:
    print(time.monotonic(), file=open(sys.argv[1], "a"), flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def begin(tmp_path: Path, place: Place) -> Iterator[Begin]:
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, store: str = "") -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "locum", "lock", "--store", store or place.url, "--namespace", NAMESPACE]
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


def hold(begin: Begin, tmp_path: Path, *arguments: str, store: str = "") -> subprocess.Popen[str]:
    """A holder whose command writes a tick every 10 ms; it runs."""
    holder = begin(*arguments, "a", "--", sys.executable, "-c", TICKS, "ticks", store=store)
    until(lambda: ticks(tmp_path / "ticks"), "the command")
    return holder


def nobody_works_beside_the_next(begin: Begin, *arguments: str) -> None:
    """Somebody else takes the lock, and while it has it no more ticks are written."""
    out, err = begin(*arguments, "a", "--", "sh", "-c", "wc -l < ticks; sleep 0.2; wc -l < ticks").communicate()
    before, after = out.split() or pytest.fail(err)
    assert before == after, "it worked on beside the next one"


@pytest.mark.stores(thorough=True)
@pytest.mark.parametrize("active", [False, True])
def test_f61_whoever_lost_it_ends_its_command(begin: Begin, place: Place, tmp_path: Path, active: bool) -> None:
    flags = [*SHORT, *(["--active"] if active else [])]
    holder = hold(begin, tmp_path, *flags)
    with Window(place.url, NAMESPACE) as window:
        window.close_all_sessions("was given up")
    assert holder.wait(LONG) == exit_codes.FENCED
    written = ticks(tmp_path / "ticks")
    out, _ = begin(*flags, "a", "--", "echo", "mine").communicate()
    assert out == "mine\n"
    assert ticks(tmp_path / "ticks") == written


@pytest.mark.stores
def test_f61_a_frozen_holder_has_no_command_any_more_when_another_has_the_lock(begin: Begin, tmp_path: Path) -> None:
    holder = hold(begin, tmp_path, *SHORT)
    family = descendants(holder.pid)
    for pid in (holder.pid, family[-1]):  # who watches over it, and who holds the lock; the command runs on
        os.kill(pid, signal.SIGSTOP)
    nobody_works_beside_the_next(begin, *SHORT)
    holder.send_signal(signal.SIGCONT)
    assert holder.wait(LONG) == exit_codes.FENCED


@pytest.mark.stores(thorough=True)
def test_f61_a_holder_that_is_killed_has_no_command_any_more(begin: Begin, tmp_path: Path) -> None:
    """The TTL is long: whoever waited for it would be out of time."""
    holder = hold(begin, tmp_path, "--ttl", "60")
    for pid in (holder.pid, descendants(holder.pid)[-1]):
        os.kill(pid, signal.SIGKILL)
    nobody_works_beside_the_next(begin, "--ttl", "60", "--wait", str(LONG))


@pytest.mark.stores(*SERVERS, thorough=True)
@pytest.mark.parametrize("harm", ["silent", "answers"])
def test_f61_a_holder_that_is_cut_off_has_no_command_any_more_when_another_has_the_lock(
    begin: Begin, place: Place, tmp_path: Path, harm: str
) -> None:
    assert isinstance(place, ServerPlace)
    with Wire(place.server.port) as wire:
        holder = hold(begin, tmp_path, *SHORT, store=place.through("127.0.0.1", wire.port))
        wire.hurt(harm)
        nobody_works_beside_the_next(begin, *SHORT)
        wire.mend()
        assert holder.wait(LONG) == exit_codes.FENCED


@contextmanager
def ended(place: Place) -> Iterator[None]:
    """The server is killed and started again; a file cannot be written to meanwhile."""
    gone: AbstractContextManager[None] = place.ended() if isinstance(place, ServerPlace) else place.away()
    with gone:
        yield


@pytest.mark.stores(own=True, thorough=True)
def test_f61_a_store_that_is_away_for_long_costs_the_hold_and_then_the_next_one_has_it(
    begin: Begin, place: Place, tmp_path: Path
) -> None:
    holder = hold(begin, tmp_path, *SHORT)
    with ended(place):
        until(lambda: not descendants(descendants(holder.pid)[-1]), "the end of the command")
        written = ticks(tmp_path / "ticks")
    assert holder.wait(LONG) == exit_codes.FENCED
    nobody_works_beside_the_next(begin, *SHORT)
    assert ticks(tmp_path / "ticks") == written
