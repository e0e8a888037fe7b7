"""Several processes on one file: opened at once, written by all, watched from elsewhere."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.errors import OutcomeUnknownError, StoreReplacedError
from locum.store import ABSENT, ANY
from locum.stores.sqlite.files import QueueFile
from tests.unit.kit import LONG, opened, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.store import Store

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
TURN = """
async def work(store):
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print((await store.write("mine", b"", expect=ANY)).revision, flush=True)
"""
WRITE = """
async def work(store):
    print("open", flush=True)
    for line in iter(sys.stdin.readline, ""):
        await store.write(line.strip(), b"", expect=ANY)
"""
ADOPT = """
async def work(store, name):
    from locum.errors import OutcomeUnknownError, StoreReplacedError, StoreUnavailableError
    told = number = 0
    print("open", flush=True)
    while True:
        number += 1
        try:
            try:
                await store.write(f"of/{name}", b"%d" % number, expect=ANY)
                if number % 10 == 0 and await store.read("end") is not None:
                    break
            except StoreReplacedError:
                told += 1
                await store.adopt(max_ttl=10**9)
        except (OutcomeUnknownError, StoreUnavailableError) as error:
            print(error, file=sys.stderr)
    print(told, (await store.sessions()).incarnation, flush=True)
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
    queue_path = tmp_path / "store.db-queue"
    with others(4, TURN, str(tmp_path / "store.db")) as processes:
        for one in processes:
            one.tell()
        for one in processes:
            assert one.line() == "open"
        queue = QueueFile(queue_path)
        with queue.turn():
            for place, one in enumerate(processes, 1):
                one.tell()
                wait_for_waiters(queue_path, place)
        revisions = [int(one.line()) for one in processes]
        queue.close()
    assert revisions == sorted(revisions), "they wrote in another order than they had asked in"


def wait_for_waiters(path: Path, count: int) -> None:
    """Wait until the kernel's table of locks shows so many who wait for this file's."""
    inode, deadline = path.stat().st_ino, time.monotonic() + LONG
    while True:
        lines = Path("/proc/locks").read_text().splitlines()
        if sum("->" in line and f":{inode} " in line for line in lines) == count:
            return
        assert time.monotonic() < deadline, f"not {count} processes wait for {path.name}"


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


@pytest.mark.parametrize("kind", ["wiped", "put back", "put back beside its parts"])
async def test_many_processes_that_write_agree_on_what_has_become_of_their_store(tmp_path: Path, kind: str) -> None:
    """Under load, at any moment of a transaction: all are told, one decides, and no file is laid over another."""
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    async with opened(path) as store:
        await store.write("grant/a", b"old", expect=ABSENT)
        before = store.seen
        with others(4, ADOPT, str(path), "x") as processes:
            for one in processes:
                one.tell()
            for one in processes:
                assert await asyncio.to_thread(one.line) == "open"
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            for _ in range(30):
                await store.write("grant/a", b"new", expect=ANY)
            for suffix in ("",) if "beside" in kind else ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink()
            if kind != "wiped":
                copy.rename(path)
            with pytest.raises((StoreReplacedError, OutcomeUnknownError)):
                await soon(store.write("grant/a", b"lost", expect=ANY))
            await soon(store.adopt(max_ttl=1))
            found = await store.read("grant/a")
            assert (found and found.value) == (None if kind == "wiped" else b"old")
            await _all_write(store)
            await store.write("end", b"", expect=ANY)
            said = [(await asyncio.to_thread(one.line)).split() for one in processes]
            sessions = await store.sessions()
    assert [int(told) > 0 for told, _ in said] == [True] * 4
    assert {incarnation for _, incarnation in said} == {sessions.incarnation}
    assert sessions.quarantined
    assert before is not None
    assert sessions.incarnation != before.incarnation
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def _all_write(store: Store) -> None:
    """Wait until the processes have written to the store as it is now, again and again."""
    for _ in range(50):
        before = await store.read("of/x")
        async with asyncio.timeout(LONG):
            while await store.read("of/x") == before:  # noqa: ASYNC110 - other processes write it
                await asyncio.sleep(0.001)
