"""The state of a partition: commits beside the engine's bare append, reads, promotions, lag, and what a key costs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from benchmarks import machine, report
from benchmarks.figures import spread
from locum.state.database import opened
from locum.state.state import State
from tests.servers.postgresql import Postgresql, Schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.options import Options

__all__ = ["measure"]

_TOGETHER: Final = (1, 16, 256)
_CONNECTIONS: Final = 64  # of the bare append: a server has not more for one program
_KEYS: Final = 100_000
_WRITTEN_TOGETHER: Final = 1000
_ROUNDS: Final = 3  # in turn, so that other work of the machine falls on both
_AIM: Final = 60  # percent of the bare append
_BODY: Final = '[["counts","key 00000017","{\\"n\\":17}"]]'
_ORDINARY: Final = {"shared_buffers": "128MB", "autovacuum": "on"}  # as a server has it that is not a test's


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For the databases.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    found: dict[str, dict[str, Any]] = {}
    path = folder / "state.db"
    found["sqlite"] = asyncio.run(
        _of(f"sqlite:///{path}", options, lambda _, seconds: _bare_sqlite(folder / "bare.db", seconds))
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found["sqlite"]["a key on disk"] = f"{path.stat().st_size / _KEYS:.0f} bytes"
    server = Postgresql(settings=_ORDINARY, on_disk=True)
    server.start()
    try:
        schema = Schema(server)
        found["postgresql"] = asyncio.run(
            _of(schema.url(), options, lambda n, seconds: _bare_postgresql(server, n, seconds))
        )
        ((size,),) = server.run(f"SELECT pg_total_relation_size('{schema.name}.state_items')")
        found["postgresql"]["a key on disk"] = f"{int(str(size)) / _KEYS:.0f} bytes"
    finally:
        server.stop()
    report.show_machine(machine.describe(facts))
    for engine, figures in found.items():
        report.show_costs(f"the state on {engine} (wanted: {_AIM} % of the bare append, a read in 5 µs)", figures)
    results = {"family": "state", "machine": facts, **found}
    return [report.keep(results, options.out / "state.json")], True


async def _of(url: str, options: Options, bare: Callable[[int, float], Awaitable[float]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seconds = options.turns_for / _ROUNDS
    async with AsyncExitStack() as stack:

        async def another() -> State:
            database = await stack.enter_async_context(opened(url, namespace="bench", timeout=30))
            return await stack.enter_async_context(State(database, "counter", "0"))

        first = await another()
        await first.promote(1)
        for n in _TOGETHER:
            rates = [(await _commits(first, n, seconds), await bare(n, seconds)) for _ in range(_ROUNDS)]
            ours, theirs = (statistics.median(one) for one in zip(*rates, strict=True))
            found[f"commits/s, {n} at once"] = round(ours)
            found[f"bare appends/s, {n} at once"] = round(theirs)
            found[f"of the bare append, {n} at once"] = f"{100 * ours / theirs:.0f} %"
        found["a hot read"] = f"{_read(first):.2f} µs"
        second = await another()  # not before: it would have its share of this process's time
        found["a secondary's lag"] = spread(await _lags(first, second), "ms")
        found["promotion after a demotion"] = spread(await _promotions(first, second), "ms")
    found |= await _keys(url)
    return found


async def _commits(state: State, n: int, seconds: float) -> float:
    """Transactions a second, of so many that are never idle."""
    counts, done, end = state.dictionary("counts"), 0, time.perf_counter() + seconds

    async def write(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            async with state.transaction(timeout=30) as tx:
                await counts.set(tx, f"key {number:08}", {"n": done})
            done += 1

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(n):
            group.create_task(write(number))
    return done / (time.perf_counter() - begun)


async def _bare_sqlite(path: Path, seconds: float) -> float:
    """Inserts a second, each committed; one after the other, for a file has one writer."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, body TEXT)")
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            connection.execute("INSERT INTO log (body) VALUES (?)", (_BODY,))
            done += 1
        return done / (time.perf_counter() - begun)


async def _bare_postgresql(server: Postgresql, n: int, seconds: float) -> float:
    """Inserts a second, each committed, by as many connections as there are writers."""
    url = f"postgresql://owner:{server.password}@127.0.0.1:{server.port}/postgres"
    size, done = min(n, _CONNECTIONS), 0
    async with asyncpg.create_pool(url, min_size=size, max_size=size) as pool:
        await pool.execute("CREATE TABLE IF NOT EXISTS bare (position bigserial PRIMARY KEY, body text)")
        end = time.perf_counter() + seconds

        async def write() -> None:
            nonlocal done
            async with pool.acquire() as connection:
                while time.perf_counter() < end:
                    await connection.execute("INSERT INTO bare (body) VALUES ($1)", _BODY)
                    done += 1

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(write())
        return done / (time.perf_counter() - begun)


def _read(state: State, times: int = 100_000) -> float:
    """Microseconds of a read."""
    counts = state.dictionary("counts")
    rounds = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times // 5):
            counts.read("key 00000000")
        rounds.append((time.perf_counter() - begun) / (times // 5) * 1e6)
    return statistics.median(rounds)


async def _lags(primary: State, secondary: State, times: int = 1000) -> list[float]:
    """Milliseconds from a commit's acknowledgement until a secondary with a connection of its own has it."""
    counts, found = primary.dictionary("counts"), []
    for number in range(times):
        async with primary.transaction(timeout=30) as tx:
            await counts.set(tx, "lag", number)
        begun = time.perf_counter()
        await secondary.caught_up(primary.position)
        found.append((time.perf_counter() - begun) * 1000)
    return found


async def _promotions(first: State, second: State, times: int = 100) -> list[float]:
    """Milliseconds that becoming the primary takes a secondary that has followed."""
    found, old, new = [], first, second
    for token in range(2, 2 + times):
        counts = old.dictionary("counts")
        async with old.transaction(timeout=30) as tx:
            await counts.set(tx, "promotion", token)
        await old.demote()
        await new.promote(token)
        assert new.promoted is not None
        found.append(new.promoted.seconds * 1000)
        old, new = new, old
    return found


async def _keys(url: str) -> dict[str, Any]:
    """A partition with many keys: how long they take to be written, and a process that starts with them."""
    async with opened(url, namespace="bench", timeout=30) as database, State(database, "keys", "0") as state:
        await state.promote(1)
        counts, begun = state.dictionary("counts"), time.perf_counter()
        for at in range(0, _KEYS, _WRITTEN_TOGETHER):
            async with state.transaction(timeout=30) as tx:
                for number in range(at, at + _WRITTEN_TOGETHER):
                    await counts.set(tx, f"key {number:08}", {"n": number})
        filled = time.perf_counter() - begun
        await asyncio.sleep(2)  # for the checkpoint
    command = [sys.executable, "-m", "benchmarks.cold_start", url]
    cold = json.loads(await asyncio.to_thread(subprocess.check_output, command))
    return {
        f"{_KEYS} keys written, {_WRITTEN_TOGETHER} a transaction": f"{filled:.1f} s",
        f"a cold start with {cold['keys']} keys": f"{cold['opened']:.2f} s",
        "the loop stands in it for": f"{cold['stood'] * 1000:.0f} ms at the longest",
        "promotion after that": f"{cold['promoted'] * 1000:.1f} ms; {cold['records']} records read in all",
        "a key in memory": f"{cold['held'] / cold['keys']:.0f} bytes",
    }
