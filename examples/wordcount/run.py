"""Words are counted while primaries are killed; then all that clients saw is judged.

python run.py [--seconds S] [--kills K] [--freezes F] [--store URL] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum import Coordinator, LocumError, int64_range
from locum.testing.linearizability import Call, counter, judge_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.client import ServiceClient

INSTANCES, PARTITIONS, WRITERS = 3, 4, 2
LONG = 60.0


class Callers:
    """Clients that keep writing, and what they saw."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self.is_over = False
        self.history: dict[str, list[Call]] = {}
        self.pids: dict[str, int] = {}
        """By partition who answered last."""
        self._dead: dict[str, tuple[int, float]] = {}
        self._resumed, self._answered = asyncio.Event(), asyncio.Event()
        self.resumed: list[float] = []

    def killed(self, pid: int) -> None:
        """The primary of some partitions is dead from now on."""
        now = time.monotonic()
        self._resumed.clear()
        self._dead.update({one: (pid, now) for one, answers in self.pids.items() if answers == pid})

    async def all_resumed(self) -> None:
        """Wait until somebody else answers for all of them."""
        async with asyncio.timeout(LONG):
            await self._resumed.wait()

    async def spread(self, over: int) -> None:
        """Wait until the primaries are on so many instances: then all of these have caught up."""
        async with asyncio.timeout(LONG):
            while len(set(self.pids.values())) < over:
                self._answered.clear()
                await self._answered.wait()

    async def call(self, word: str, what: tuple[Any, ...], who: int) -> None:
        """Ask until there is an answer; a write is one and the same, however often it is sent."""
        adds, request, asked = what[0] == "add", uuid.uuid4().hex, time.monotonic()
        while True:
            try:
                answer = await self._client.request(
                    "POST" if adds else "GET",
                    f"words/{word}" + (f"?id={request}" if adds else ""),
                    key=word,
                    repeatable=True,
                )
            except LocumError:
                if not adds and self.is_over:
                    return
                continue
            now, said = time.monotonic(), answer.json()
            self.history.setdefault(word, []).append(Call(asked, now, what, said["count"], who))
            self._note(said["partition"], said["pid"], now)
            return

    def _note(self, partition: str, pid: int, now: float) -> None:
        self.pids[partition] = pid
        self._answered.set()
        dead, since = self._dead.get(partition, (pid, 0.0))
        if dead != pid:
            del self._dead[partition]
            self.resumed.append(now - since)
            if not self._dead:
                self._resumed.set()

    async def write(self, words: list[str], who: int) -> None:
        """Write, and read now and then, without a pause."""
        while not self.is_over:
            what = ("read",) if random.random() < 0.1 else ("add", 1)
            await self.call(random.choice(words), what, who)
            await asyncio.sleep(0.002)


@asynccontextmanager
async def instances(folder: Path, store: str) -> AsyncIterator[None]:
    """Three instances for the length of the block."""
    running = []
    try:
        for number in range(1, INSTANCES + 1):
            with (folder / f"words-{number}.log").open("wb") as log:
                running.append(
                    await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "locum", "run", "words:host", "--name", f"words-{number}"),
                        cwd=Path(__file__).parent,
                        env={**os.environ, "LOCUM_STORE": store},
                        stdout=log,
                        stderr=log,
                    )
                )
        yield
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            await one.wait()


async def kill(pid: int, callers: Callers) -> None:
    """End a primary, and wait until others answer in its place."""
    os.kill(pid, signal.SIGKILL)
    callers.killed(pid)
    await callers.all_resumed()


async def freeze(pid: int, callers: Callers) -> None:
    """Stop a primary for longer than its lease lasts, or not quite so long; its keeper may end it meanwhile."""
    del callers
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(random.uniform(0.2, 1.3) * float(os.environ.get("LOCUM_TTL", "6")))
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


async def count_words(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Count, kill, and judge."""
    store = options.store or f"sqlite:///{folder / 'store.db'}"
    divided = int64_range(PARTITIONS)
    words: list[list[str]] = [[] for _ in range(PARTITIONS)]
    for number in range(64):
        words[divided.partition(f"word-{number}").index].append(f"word-{number}")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(instances(folder, store))
        coordinator = await stack.enter_async_context(Coordinator.connect(store, namespace="wordcount"))
        client = await stack.enter_async_context(coordinator.client("word_count", timeout=LONG))
        callers = Callers(client)
        for theirs in words:
            await callers.call(theirs[0], ("add", 1), -1)
        writing = [
            asyncio.ensure_future(callers.write(theirs, WRITERS * index + one))
            for index, theirs in enumerate(words)
            for one in range(WRITERS)
        ]
        injuries = [kill] * options.kills + [freeze] * options.freezes
        random.shuffle(injuries)
        pause = options.seconds / (len(injuries) + 1)
        for injure in injuries:
            await callers.spread(INSTANCES)
            await asyncio.sleep(pause)
            await injure(random.choice(list(callers.pids.values())), callers)
        await asyncio.sleep(pause)
        callers.is_over = True
        await asyncio.gather(*writing)
        for theirs in words:
            for word in theirs:
                await callers.call(word, ("read",), -1)
    return judged(callers, options)


def judged(callers: Callers, options: argparse.Namespace) -> dict[str, Any]:
    """What is to be said of it."""
    lost = twice = acknowledged = 0
    for calls in callers.history.values():
        adds = sum(call.what[0] == "add" for call in calls)
        final = max(calls, key=lambda call: call.asked).result
        acknowledged += adds
        lost += max(0, adds - final)
        twice += max(0, final - adds)
    resume = [1000 * one for one in callers.resumed]
    return {
        "acknowledged": acknowledged,
        "lost": lost,
        "applied_twice": twice,
        "kills": options.kills,
        "freezes": options.freezes,
        "resume_ms": {
            "p50": round(statistics.median(resume), 1) if resume else None,
            "max": round(max(resume), 1) if resume else None,
        },
        "linearizable": not judge_each(callers.history, counter),
    }


async def main() -> int:
    """Do it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--freezes", type=int, default=0, help="how often a primary is stopped for a while")
    parser.add_argument("--store", help="the URL of the store; a file if none is given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wordcount-") as folder:
        found = await count_words(Path(folder), options)
    if options.json:
        print(json.dumps(found))
    else:
        resume = found["resume_ms"]
        print(
            f"{found['acknowledged']} words were counted while {found['kills']} primaries were killed:"
            f" {found['lost']} lost, {found['applied_twice']} counted twice, and the histories of all words are"
            f" {'' if found['linearizable'] else 'NOT '}linearizable."
        )
        if found["kills"]:
            print(f"Writes resumed after {resume['p50']} ms (median), {resume['max']} ms at most.")
    return int(bool(found["lost"] or found["applied_twice"] or not found["linearizable"]))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
