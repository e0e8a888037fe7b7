"""Many who wait for one lock: turns in the order of coming, few calls for each, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import locum.blocking
from locum import Coordinator
from locum.clock import Clock
from locum.coordination.line import line_prefix
from locum.registry import make_store
from locum.scopes import Scope, cancel_and_wait
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import LONG, until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from locum.coordination.contest import Contest
    from locum.store import Store
    from tests.faults.kit.places import Place

ROOT: Final = Path(__file__).parents[2]
APP: Final = Path(__file__).parent / "apps" / "waiters.py"
NAMESPACE: Final = "default"
LOOK: Final = 3  # the grant, the line, the holder's session
CALLS: Final = 5  # release; and the next: read the grant, the line and the floor, take


class Waiters:
    """Processes with waiters.

    Args:
        folder: Where they write to.
        place: The store.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder, self._place = folder, place
        self.turns = folder / "turns"
        self._begun: list[tuple[subprocess.Popen[bytes], Path]] = []

    @contextmanager
    def watched(self, *, ttl: float) -> Iterator[tuple[locum.blocking.Coordinator, Window]]:
        """Somebody who takes part here, and a look into the store."""
        with (
            locum.blocking.connect(self._place.url, ttl=ttl) as coordinator,
            Window(self._place.url, NAMESPACE) as window,
        ):
            yield coordinator, window

    def begin(self, number: int, *, of: int) -> subprocess.Popen[bytes]:
        told = self._folder / f"told-{len(self._begun)}"
        line = [sys.executable, str(APP), self._place.url, str(number), str(of + 1), str(self.turns), str(told)]
        process = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"})
        self._begun.append((process, told))
        return process

    def in_line(self, number: int, window: Window) -> list[str]:
        """Wait until all stand in line; their attempts in the order of coming."""
        until(lambda: all(told.exists() for _, told in self._begun), "all to be in line", within=3 * LONG)
        attempts = [key.rpartition("/")[2] for key in window.keys(line_prefix("lock/busy"))]
        assert len(attempts) == number + 1, "and the holder"
        return attempts[1:]

    def ended(self) -> int:
        """Wait for their ends; how many calls they made."""
        for process, _ in self._begun:
            assert process.wait(3 * LONG) == 0
        return sum(int(told.read_text()) for _, told in self._begun)

    def end(self) -> None:
        for process, _ in self._begun:
            process.kill()
            process.wait()


@pytest.fixture
def waiters(tmp_path: Path, place: Place) -> Iterator[Waiters]:
    made = Waiters(tmp_path, place)
    yield made
    made.end()


def goes_round(waiters: Waiters, *, processes: int, each: int) -> None:
    """All have their turn in the order of coming; how many calls that took is the same for two and for many."""
    number = processes * each
    with waiters.watched(ttl=60.0) as (coordinator, window):
        with coordinator.lock("busy"):
            for _ in range(processes):
                waiters.begin(each, of=number)
            expected = waiters.in_line(number, window)
        calls = waiters.ended()
    assert waiters.turns.read_text().split() == expected
    # one look more in each process, whose first waiter looks again by itself where others have come meanwhile
    assert calls <= CALLS * number + LOOK * processes, f"{calls / number:.2f} calls a hand-over"


@pytest.mark.stores
def test_f60_two_have_their_turns_and_few_calls_a_hand_over(waiters: Waiters) -> None:
    goes_round(waiters, processes=2, each=1)


def test_f60_ten_have_their_turns_and_each_change_of_hands_wakes_one(waiters: Waiters) -> None:
    goes_round(waiters, processes=2, each=5)


@pytest.mark.stores(thorough=True)
@pytest.mark.timeout(400)
def test_f60_200_have_their_turns_in_the_order_of_coming_and_few_calls_a_hand_over(waiters: Waiters) -> None:
    goes_round(waiters, processes=4, each=50)


@pytest.mark.stores
def test_f62_a_waiter_that_is_killed_leaves_nobody_behind_a_ghost(waiters: Waiters) -> None:
    with waiters.watched(ttl=1.5) as (coordinator, window):
        with coordinator.lock("busy"):
            ghost = waiters.begin(1, of=1)
            waiters.in_line(1, window)
            ghost.kill()
            ghost.wait()
        with coordinator.lock("busy", timeout=LONG) as held:
            assert held.token == 2, "the dead one had no turn"
        until(lambda: not window.keys("line/"), "the line to be empty")


class Stream:
    """Readers who come again and again, and a writer.

    Attributes:
        reads: How many reads have begun.
        most: How many have read at once.
    """

    def __init__(self) -> None:
        self.reads = self.reading = self.most = 0
        self.begun = asyncio.Event()

    async def read(self, contest: Contest[Any]) -> None:
        while True:
            async with contest:
                self.reads += 1
                self.reading += 1
                self.most = max(self.most, self.reading)
                self.begun.set()
                await asyncio.sleep(0.1)  # so that they overlap: without a turn of its own a writer would never be in
                self.reading -= 1


@pytest.mark.stores
async def test_f63_a_writer_is_in_within_one_readers_hold(place: Place) -> None:
    """Of those who read when it comes, and of those who stood before it, each ends what it does; then it is in."""
    stream, readers = Stream(), 4
    async with (
        Coordinator.connect(place.url, instance="one") as one,
        Coordinator.connect(place.url, instance="other") as other,
        Scope("stream") as scope,
    ):
        reading = [scope.spawn(stream.read(at.read_write_lock("index").read()), name="r") for at in (one, other) * 2]
        for _ in range(count(full=20)):
            stream.begun.clear()
            await stream.begun.wait()
            before = stream.reads
            is_in = False
            try:
                async with asyncio.timeout(LONG), other.read_write_lock("index").write():
                    is_in = True
                    assert stream.reading == 0
                    # until it stood in line each may have come once more, and whoever stood before it comes once
                    assert stream.reads - before <= 2 * readers
                    assert not [task for task in reading if task.done()]
            except TimeoutError:
                assert is_in, "readers that came later went before a writer for as long as it waited"
                raise
        await asyncio.gather(*map(cancel_and_wait, reading))
    assert stream.most > 1, "they did not read together"
    async with looking(place) as store:
        assert (await store.list("line/")).records == []


@asynccontextmanager
async def looking(place: Place) -> AsyncIterator[Store]:
    """A look into the store, beside those who work."""
    store = make_store(place.url, namespace=NAMESPACE, clock=Clock())
    store.call_timeout = LONG
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def in_memory(place: Place) -> Iterator[Place]:
    """A file that no disk is behind: what is asked here is how much is left, and not what survives."""
    if not isinstance(place, SqliteFile):
        yield place
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield SqliteFile(Path(folder) / "store.db")


class Names:
    """Names, each of which is locked once; some come back, long after they were collected or while that goes on.

    Attributes:
        used: How many were begun.
        most: The most records that the store held while each tenth of them was used.
    """

    def __init__(self, coordinator: Coordinator, store: Store, number: int) -> None:
        self._coordinator, self._store, self._number = coordinator, store, number
        self._tokens: dict[int, int] = {}
        self.used, self.most = 0, [0] * 10

    async def use_all(self, *, together: int) -> None:
        async with Scope("names") as scope:
            using = [scope.spawn(self._use_some(), name=str(number)) for number in range(together)]
            await asyncio.gather(*using)

    async def _use_some(self) -> None:
        while (number := self.used) < self._number:
            self.used += 1
            await self._use(number)
            if number % 50 == 49:
                await self._use(number // 2)
                await self._use(number - 40)
            if number % max(1, self._number // 100) == 0:
                tenth = 10 * number // self._number
                self.most[tenth] = max(self.most[tenth], len((await self._store.list("")).records))

    async def _use(self, number: int) -> None:
        async with self._coordinator.lock(f"name-{number}") as held:
            assert held.token > self._tokens.get(number, 0), "a token came twice"
            self._tokens[number] = held.token


F64_NAMES: Final = {"sqlite": 1_000_000, "postgresql": 20_000, "redis": 20_000, "zookeeper": 2_000}
"""How many names with full counts; on servers so many as end in bearable time."""


@pytest.mark.stores
@pytest.mark.timeout(7200)
async def test_f64_names_that_are_locked_once_leave_nothing_behind(in_memory: Place) -> None:
    """Each name once, 16 at a time: the store stays as small as it was, and no name sees a token twice."""
    number = count(full=F64_NAMES[in_memory.name], small=2_000 if isinstance(in_memory, SqliteFile) else 100)
    async with Coordinator.connect(in_memory.url, ttl=6.0) as coordinator, looking(in_memory) as store:
        names = Names(coordinator, store, number)
        await names.use_all(together=16)
        async with asyncio.timeout(LONG):
            while (await store.list("grant/")).records:  # noqa: ASYNC110 - it is another task that collects
                await asyncio.sleep(0.05)
        left = {record.key for record in (await store.list("")).records}
    assert left == {"floor"}, "what was used once is not there any more"
    # what a few beats bring is there at any time, and a machine is not always equally fast
    assert max(names.most[5:]) <= 2 * max(names.most[:5]) + 1_000, f"the store grows: {names.most}"
