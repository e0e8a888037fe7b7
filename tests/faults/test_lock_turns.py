"""Many who wait for one lock: turns in the order of coming, few calls for each, and nothing left behind."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import locum.blocking
from locum import Coordinator
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(__file__).parent / "apps" / "waiters.py"
CALLS = 6  # release, leave the line; and the next: read the grant, the line and the floor, take


class Waiters:
    """Processes with waiters."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"sqlite:///{folder}/store.db"
        self.turns = folder / "turns"
        self._begun: list[tuple[subprocess.Popen[bytes], Path]] = []

    def begin(self, number: int, *, of: int) -> subprocess.Popen[bytes]:
        told = self._folder / f"told-{len(self._begun)}"
        line = [sys.executable, str(APP), self.url, str(number), str(of + 1), str(self.turns), str(told)]
        process = subprocess.Popen(line)
        self._begun.append((process, told))
        return process

    def in_line(self, number: int) -> list[str]:
        """Wait until all stand in line; their attempts in the order of coming."""
        until(lambda: all(told.exists() for _, told in self._begun), "all to be in line", within=4 * LONG)
        with closing(sqlite3.connect(self._folder / "store.db", timeout=LONG)) as store:
            rows = store.execute(
                "SELECT key FROM locum_records WHERE key LIKE 'line/lock/busy/%' ORDER BY created"
            ).fetchall()
        attempts = [key.rpartition("/")[2] for (key,) in rows]
        assert len(attempts) == number + 1, "and the holder"
        return attempts[1:]

    def ended(self) -> int:
        """Wait for their ends; how many calls they made."""
        for process, _ in self._begun:
            assert process.wait(4 * LONG) == 0
        return sum(int(told.read_text()) for _, told in self._begun)

    def end(self) -> None:
        for process, _ in self._begun:
            process.kill()
            process.wait()


@pytest.fixture
def waiters(tmp_path: Path) -> Iterator[Waiters]:
    made = Waiters(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize(("processes", "each"), [(2, 1), (4, 50)])
def test_f60_turns_in_the_order_of_coming_and_few_calls_a_hand_over(
    waiters: Waiters, processes: int, each: int
) -> None:
    number = processes * each
    with locum.blocking.connect(waiters.url, ttl=60.0) as coordinator:
        with coordinator.lock("busy"):
            for _ in range(processes):
                waiters.begin(each, of=number)
            expected = waiters.in_line(number)
        calls = waiters.ended()
    assert waiters.turns.read_text().split() == expected
    # a few more where a waiter looks again by itself: once a TTL, which a loaded machine may outlast
    assert calls <= CALLS * number + processes, f"{calls / number:.2f} calls a hand-over"


def test_f62_a_waiter_that_is_killed_leaves_nobody_behind_a_ghost(waiters: Waiters) -> None:
    with locum.blocking.connect(waiters.url, ttl=1.5) as coordinator:
        with coordinator.lock("busy"):
            ghost = waiters.begin(1, of=1)
            waiters.in_line(1)
            ghost.kill()
            ghost.wait()
        with coordinator.lock("busy", timeout=LONG) as held:
            assert held.token == 2, "the dead one had no turn"
        with closing(sqlite3.connect(waiters.url.removeprefix("sqlite:///"), timeout=LONG)) as store:
            lines = "SELECT count(*) FROM locum_records WHERE key LIKE 'line/%'"
            until(lambda: store.execute(lines).fetchone() == (0,), "the line to be empty")


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder that no disk is behind: what is asked here is how much is left, and not what survives."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


async def test_f64_names_that_are_locked_once_leave_nothing_behind(in_memory: Path) -> None:
    """Each name once: the store is as large as before, and no token comes twice, also where a name comes back."""
    path = in_memory / "store.db"
    names, tokens = count(full=100_000, small=2_000), {}
    async with Coordinator.connect(f"sqlite:///{path}", ttl=6.0) as coordinator:
        for number in range(names):
            async with coordinator.lock(f"name-{number}") as held:
                tokens[number] = [held.token]
        async with asyncio.timeout(LONG):
            while _grants(path):  # noqa: ASYNC110 - it is another task that collects
                await asyncio.sleep(0.05)
        for number in range(0, names, names // 20):
            async with coordinator.lock(f"name-{number}") as held:
                tokens[number].append(held.token)
    assert all(again > once for once, again in (two for two in tokens.values() if len(two) == 2))
    with closing(sqlite3.connect(path)) as store:
        left = [key for (key,) in store.execute("SELECT key FROM locum_records")]
    assert left == ["floor"], "what was used once is not there any more"


def _grants(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=LONG)) as store:
        (found,) = store.execute("SELECT count(*) FROM locum_records WHERE key LIKE 'grant/%'").fetchone()
        return int(found)
