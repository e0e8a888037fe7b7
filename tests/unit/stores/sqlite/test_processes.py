"""Several processes on one file: opened at once, written by all, watched from elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from locum.store import ABSENT
from tests.unit.kit import LONG, opened, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRELUDE = """
import asyncio, sys
from pathlib import Path
from locum.clock import Clock
from locum.errors import ConflictError
from locum.store import ANY
from locum.stores.sqlite import SqliteStore

async def main(path, *arguments):
    store = SqliteStore(Path(path), namespace="billing", clock=Clock())
    store.call_timeout = 20.0
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.open()
    await work(store, *arguments)
    await store.close()
"""
INCREMENT = """
async def work(store, count):
    for _ in range(int(count)):
        while True:
            record = await store.read("counter")
            try:
                await store.write("counter", b"%d" % (int(record.value) + 1), expect=record.revision)
            except ConflictError:
                continue
            break
"""
OPEN = """
async def work(store):
    print((await store.sessions()).incarnation, flush=True)
"""
TURNS = """
async def work(store):
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for number in range(30):
        written = await store.write("mine/" + sys.argv[2], b"", expect=ANY)
        print(written.revision, flush=True)
"""
WRITE = """
async def work(store):
    print("open", flush=True)
    for line in iter(sys.stdin.readline, ""):
        await store.write(line.strip(), b"", expect=ANY)
"""
RUN = "\nasyncio.run(main(*sys.argv[1:]))"


class Other:
    """Another process, which says lines and is told to go on by lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out, self._process = process.stdin, process.stdout, process

    def line(self) -> str:
        return self._out.readline().strip()

    def lines(self) -> list[str]:
        return self._out.read().split()

    def tell(self, text: str = "") -> None:
        self._in.write(text + "\n")
        self._in.flush()

    def leaves(self) -> int:
        return self._process.wait(LONG)


@contextmanager
def others(count: int, program: str, *arguments: str) -> Iterator[list[Other]]:
    """So many processes, all ready to open the store."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program + RUN, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    found = [Other(process) for process in processes]
    try:
        for one in found:
            assert one.line() == "ready"
        yield found
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_several_processes_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    with others(6, OPEN, str(tmp_path / "store.db")) as processes:
        for one in processes:
            one.tell()
        incarnations = {one.line() for one in processes}
        assert [one.leaves() for one in processes] == [0] * 6
    assert len(incarnations) == 1
    assert "" not in incarnations


async def test_no_update_of_eight_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.write("counter", b"0", expect=ABSENT)
        with others(8, INCREMENT, str(path), "15") as processes:
            for one in processes:
                one.tell()
            assert [one.leaves() for one in processes] == [0] * 8
        counter = await store.read("counter")
        assert counter is not None
        assert counter.value == b"120"


def test_writers_of_all_processes_take_turns(tmp_path: Path) -> None:
    with others(4, TURNS.replace("sys.argv[2]", "str(id(store))"), str(tmp_path / "store.db")) as processes:
        for one in processes:
            one.tell()
        for one in processes:
            assert one.line() == "open"
        for one in processes:
            one.tell()
        revisions = [sorted(map(int, one.lines())) for one in processes]
    first, last = max(found[0] for found in revisions), min(found[-1] for found in revisions)
    together = sorted((revision, writer) for writer, found in enumerate(revisions) for revision in found)
    between = [writer for revision, writer in together if first <= revision <= last]
    assert len(between) > 8, "they wrote at the same time"
    for writer in set(between):
        places = [place for place, wrote in enumerate(between) if wrote == writer]
        longest = max(after - before for before, after in itertools.pairwise(places))
        assert longest <= 12, f"a writer waited for {longest} writes of {len(processes) - 1} others"


async def test_a_change_of_another_process_wakes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store, store.changes(["p/"]) as changes:
        with others(1, WRITE, str(path)) as (other,):
            other.tell()
            assert await asyncio.to_thread(other.line) == "open"
            for key in ("p/a", "p/b", "p/a"):
                other.tell(key)
                change = await soon(anext(changes))
                assert change.keys == {key}, "named, and so not the poll's"
