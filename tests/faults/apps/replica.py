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
from typing import Any

from locum.errors import LocumError, OutcomeUnknownError
from locum.state.commits import LIMIT
from locum.state.database import opened
from locum.state.state import State


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

    async def stream(self, writers: int, limit: float = LIMIT) -> None:
        """Begin to count up without an end, each transaction with so many seconds."""
        self._limit = limit
        self._is_streaming = True
        for number in range(writers):
            task = asyncio.create_task(self._without_end(f"writer {number}"))
            self._streams.add(task)

    async def still(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._is_streaming = False
        await asyncio.gather(*self._streams)
        self._streams.clear()

    async def read(self) -> dict[str, Any]:
        state = self._state
        return {"counts": dict(state.dictionary("counts").items()), "staleness": state.staleness}

    async def _without_end(self, who: str) -> None:
        while self._is_streaming:
            await self._count(who)

    async def _count(self, who: str) -> None:
        """Count one key up, and note for each time that it was done: all or nothing."""
        self._number += 1
        name = f"{os.getpid()} {who} {self._number}"
        counts, notes = self._state.dictionary("counts"), self._state.dictionary("notes")
        begun, tx = time.monotonic(), None
        try:
            async with self._state.transaction(key=name, timeout=self._limit) as tx:
                key = f"key {self._number % 41}"
                await counts.set(tx, key, await counts.get(tx, key, 0) + 1)
                await notes.set(tx, name, key)
        except LocumError as error:
            outcome = type(error).__name__
            if isinstance(error, OutcomeUnknownError) and tx is not None:
                self._streams.add(asyncio.create_task(self._settle(name, tx.settled())))
            await asyncio.sleep(0.01)
        else:
            outcome = "ok"
        self._say(name=name, outcome=outcome, seconds=time.monotonic() - begun)

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
