"""A replica of a partition's state, which does what it is told on its input, and writes down what has become of it.

Usage: replica.py URL FILE. A line of the input is a command as JSON, its answer a line of the output. FILE gets a line
for each transaction, when it is over.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from locum.errors import LocumError, OutcomeUnknownError
from locum.scopes import happens
from locum.state.commits import LIMIT
from locum.state.database import opened
from locum.state.state import State

_MOMENT = 0.002  # seconds without anything new


class Replica:
    """What it is told, as methods."""

    def __init__(self, state: State, file: int) -> None:
        self._state, self._file = state, file
        self._streams: set[asyncio.Task[None]] = set()
        self._is_streaming = False
        self._number, self._limit = 0, LIMIT

    async def promote(self, token: int) -> dict[str, Any]:
        await self._state.promote(token)
        assert self._state.promoted is not None
        return {"records": self._state.promoted.records}

    async def demote(self) -> None:
        await self._state.demote()

    async def add(self, times: int = 1) -> None:
        """Count up, one after the other."""
        for _ in range(times):
            await self._count("alone")

    async def stream(self, writers: int, readers: int = 0, limit: float = LIMIT) -> None:
        """Begin to count up, and to read, without an end, each transaction with so many seconds."""
        self._limit = limit
        self._is_streaming = True
        for number in range(writers):
            self._streams.add(asyncio.create_task(self._without_end(self._count, f"writer {number}")))
        for number in range(readers):
            self._streams.add(asyncio.create_task(self._without_end(self._get, f"reader {number}")))

    async def still(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._is_streaming = False
        await asyncio.gather(*self._streams)
        self._streams.clear()

    async def read(self) -> dict[str, Any]:
        state = self._state
        return {"counts": dict(state.dictionary("counts").items()), "staleness": state.staleness}

    async def landed(self) -> list[str]:
        """Which of them are in the log, of the last ones."""
        state = self._state
        records = await state._partition.after(max(0, state.position - 100), 1000)
        return [change.key for record in records for change in record.changes if change.dictionary == "notes"]

    async def repeat(self, names: dict[str, str]) -> None:
        """Count again what may have been counted, each on its key."""
        for name, key in names.items():
            await self._count_once(name, key)

    async def reads(self, times: int) -> list[dict[str, Any]]:
        """Look at what is here so many times: now, and as soon as something has come."""
        state, found, has_come = self._state, [], asyncio.Event()
        counts, notes = state.dictionary("counts"), state.dictionary("notes")
        end = notes.subscribe(lambda _: has_come.set())
        for _ in range(times):
            at, held, counted = time.monotonic(), len(notes), sum(count for _, count in counts.items())
            found.append({"at": at, "staleness": state.staleness, "all": held, "is_whole": counted == held})
            await happens(has_come.wait(), within=_MOMENT)
            has_come.clear()
        end()
        return found

    async def _without_end(self, what: Callable[[str], Awaitable[None]], who: str) -> None:
        while self._is_streaming:
            await what(who)

    async def _count(self, who: str) -> None:
        self._number += 1
        await self._count_once(f"{os.getpid()} {who} {self._number}", f"key {self._number % 41}")

    async def _count_once(self, name: str, key: str) -> None:
        """Count one key up, and note for each time that it was done: all or nothing."""
        self._say(begun=name, key=key)
        count = None
        counts, notes = self._state.dictionary("counts"), self._state.dictionary("notes")
        begun, tx = time.monotonic(), None
        try:
            async with self._state.transaction(key=name, timeout=self._limit) as tx:
                count = await counts.get(tx, key, 0) + 1
                await counts.set(tx, key, count)
                await notes.set(tx, name, key)
        except LocumError as error:
            outcome = type(error).__name__
            if isinstance(error, OutcomeUnknownError) and tx is not None:
                self._streams.add(asyncio.create_task(self._settle(name, tx.settled())))
            await asyncio.sleep(0.01)
        else:
            outcome = "ok"
        self._say(name=name, outcome=outcome, key=key, count=count, asked=begun, answered=time.monotonic())

    async def _get(self, who: str) -> None:
        """Read one key, in a transaction: it is the latest, or an error."""
        del who
        self._number += 1
        key, begun = f"key {self._number % 41}", time.monotonic()
        try:
            async with self._state.transaction(timeout=self._limit) as tx:
                count = await self._state.dictionary("counts").get(tx, key, 0)
        except LocumError:
            await asyncio.sleep(0.01)
        else:
            self._say(read=key, count=count, asked=begun, answered=time.monotonic())

    async def _settle(self, name: str, settled: Any) -> None:
        self._say(name=name, settled=await settled)

    def _say(self, **what: Any) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")


def _answer(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(url: str, path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with opened(url, namespace="faults") as database, State(database, "counter", "0") as state:
        replica = Replica(state, file)
        _answer("open")
        while line := await reader.readline():
            name, given = json.loads(line)
            try:
                answer = await getattr(replica, name)(**given)
            except LocumError as error:
                answer = {"error": type(error).__name__}
            _answer(answer)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
