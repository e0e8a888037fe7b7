"""F66: whoever asks the active one by a client gets its answers, though it is killed and frozen again and again."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from locum import Coordinator
from locum.scopes import Scope
from tests.faults.apps import endpoint
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.coordination.client import ServiceClient
    from tests.faults.kit.places import Place

APP: Final = Path(endpoint.__file__)
CALLERS: Final = 4


class Crew:
    """Three web servers, of which one answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = (f"web-{number}" for number in itertools.count(1))
        self.there: dict[str, subprocess.Popen[str]] = {}

    def add(self) -> None:
        name = next(self._names)
        line = [sys.executable, str(APP), self._url, name]
        self.there[name] = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Wait until all have joined."""
        for one in self.there.values():
            assert one.stdout is not None
            if not one.stdout.closed:
                assert one.stdout.readline() == "ready\n"
                one.stdout.close()

    def kill(self, name: str) -> None:
        one = self.there.pop(name)
        one.kill()
        one.wait()

    def close(self) -> None:
        for name in list(self.there):
            self.kill(name)


class Caller:
    """Asks without a pause, and remembers the tokens that answered."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self.tokens: list[int] = []
        self.last = ""
        self.error: Exception | None = None
        self.answered = asyncio.Event()

    async def run(self) -> None:
        while self.error is None:
            try:
                said = (await self._client.get("/", timeout=2 * LONG)).json()
            except Exception as error:
                self.error = error
            else:
                self.tokens.append(said["token"])
                self.last = said["name"]
            self.answered.set()
            await asyncio.sleep(0.005)

    async def answer_beyond(self, token: int) -> None:
        """Wait for an answer of a later term."""
        while not self.tokens or self.tokens[-1] <= token:
            self._judge()
            self.answered.clear()
            await self.answered.wait()
        self._judge()

    def _judge(self) -> None:
        assert self.error is None, f"an error reached the caller: {self.error!r}"
        assert self.tokens == sorted(self.tokens), "an earlier term answered after a later one"


@contextmanager
def crew_on(url: str) -> Iterator[Crew]:
    crew = Crew(url)
    for _ in range(3):
        crew.add()
    try:
        crew.ready()
        yield crew
    finally:
        crew.close()


@pytest.mark.stores
async def test_f66_no_error_reaches_the_caller_and_no_answer_of_a_deposed_one_is_taken(place: Place) -> None:
    with crew_on(place.url) as crew:
        async with (
            Coordinator.connect(place.url, namespace="faults") as coordinator,
            coordinator.client(endpoint.SERVICE) as client,
            Scope("callers") as scope,
        ):
            callers = [Caller(client) for _ in range(CALLERS)]
            for caller in callers:
                scope.spawn(caller.run(), name="caller")
            await callers[0].answer_beyond(0)
            for number in range(count(20, 10, on=place)):
                before, active = callers[0].tokens[-1], callers[0].last
                # one that is frozen while it writes to a file would hold up everyone
                frozen = number % 2 == 0 and not isinstance(place, SqliteFile)
                if frozen:
                    crew.there[active].send_signal(signal.SIGSTOP)
                else:
                    await asyncio.to_thread(crew.kill, active)
                    crew.add()
                for caller in callers:
                    await caller.answer_beyond(before)
                if frozen:
                    crew.there[active].send_signal(signal.SIGCONT)  # it may believe that it is active still
                await asyncio.to_thread(crew.ready)
