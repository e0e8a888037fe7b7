"""S01, S04, S06, S08: stateful services whose primaries are killed and frozen, as their callers see them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from locum import AsgiListener, Coordinator, Host, Listening, StatefulService, exit_codes
from tests.faults.kit.runs import FULL, count
from tests.faults.kit.waiting import LONG
from tests.faults.test_lifecycle import EMBEDDED, KEPT, Program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.faults.kit.places import Place

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "wordcount" / "run.py"
STORES: Final = pytest.mark.stores("sqlite", "postgresql")


def counted(place: Place, *options: str, **environment: str) -> dict[str, Any]:
    """What is said of a run of the word count example on a store."""
    line = [sys.executable, str(PROGRAM), "--json", "--store", place.url, *options]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, found
    return found


@STORES
@pytest.mark.timeout(1200)
def test_s01_no_acknowledged_write_is_lost_or_applied_twice_though_primaries_are_killed(place: Place) -> None:
    kills = count(50, 8, on=place)
    found = counted(place, "--kills", str(kills), "--seconds", str(0.2 * kills))
    assert (found["lost"], found["applied_twice"], found["kills"]) == (0, 0, kills)
    assert found["linearizable"]
    assert found["acknowledged"] > 10 * kills
    if FULL:
        assert found["resume_ms"]["p50"] <= 100


@STORES
@pytest.mark.timeout(1200)
def test_s08_histories_are_linearizable_though_primaries_are_killed_and_frozen(place: Place) -> None:
    injuries = count(20, 2, on=place)
    options = ("--kills", str(injuries), "--freezes", str(injuries), "--seconds", str(120 if FULL else 2))
    found = counted(place, *options, LOCUM_TTL="2")
    assert found["linearizable"]
    assert (found["lost"], found["applied_twice"]) == (0, 0)


# -- S04


class Number(StatefulService):
    """A number: its primary adds to it, and all replicas read it."""

    replicas = 2
    join_delay = 0.0

    def listeners(self) -> Iterable[AsgiListener | Listening]:
        """One for the primary, one for all."""
        yield AsgiListener(self.add)
        yield Listening(listener=AsgiListener(self.read), name="reads", on_secondary=True)

    async def add(self, scope: Any, receive: Any, send: Any) -> None:
        """Add one."""
        del scope, receive
        numbers = self.state.dictionary("numbers")
        async with self.state.transaction() as tx:
            number = await numbers.get(tx, "n", default=0) + 1
            await numbers.set(tx, "n", number)
        await say(send, {"number": number})

    async def read(self, scope: Any, receive: Any, send: Any) -> None:
        """What is read here, and how old it may be."""
        del scope, receive
        number, staleness = self.state.dictionary("numbers").read("n", default=0), self.state.staleness
        await say(send, {"number": number, "staleness": staleness, "role": self.role.value})


async def say(send: Any, what: dict[str, Any]) -> None:
    """Answer with JSON."""
    body = json.dumps(what).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def secondary_of(coordinator: Coordinator) -> str:
    """Where a secondary is read."""
    async with asyncio.timeout(LONG):
        async for endpoints in coordinator.naming.watch_list("number"):
            primaries = {one.instance for one in endpoints if one.token is not None}
            for one in endpoints:
                if primaries and one.instance not in primaries and one.listener == "reads":
                    return one.address
    raise AssertionError


@STORES
async def test_s04_a_secondary_reads_a_committed_prefix_and_tells_how_old_it_may_be(place: Place) -> None:
    loop = asyncio.get_running_loop()
    hosts = [Host("reading", store=place.url, instance=f"web-{number}") for number in (1, 2)]
    for host in hosts:
        host.add(Number)
    acknowledged: list[tuple[float, int]] = []
    seen = 0
    async with (
        hosts[0].lifespan(),
        hosts[1].lifespan(),
        Coordinator.connect(place.url, namespace="reading") as coordinator,
        coordinator.client("number", timeout=LONG) as client,
        httpx2.AsyncClient() as http,
    ):
        address = await secondary_of(coordinator)
        for _ in range(count(2000, 50)):
            number = (await client.post("/", repeatable=True)).json()["number"]
            acknowledged.append((loop.time(), number))
            asked = loop.time()
            said = (await http.get(address)).json()
            assert said["role"] == "secondary"
            assert seen <= said["number"] <= number, "it is a prefix of what was committed, which only grows"
            seen = said["number"]
            certain = [known for at, known in acknowledged if at < asked - said["staleness"]]
            assert seen >= max(certain, default=0), "it is not older than it says"
    assert seen > 0, "it follows"


# -- S06

WRONG: Final = """
from locum import StatefulService
def at(step):
    say(step)
    if step == AT: return HOW()
    return asyncio.sleep(0)
async def raises(): raise ValueError("boom")
async def hangs(): await asyncio.sleep(3600)
async def ignores():
    while True:
        try: await asyncio.sleep(3600)
        except asyncio.CancelledError: pass
class Wrong(StatefulService):
    join_delay = 0.0
    async def run(self, term):
        say("is primary")
        try: await asyncio.sleep(3600)
        finally: await at("run ends")
    async def on_change_role(self, role): await at(f"is {role.value} now")
    async def on_close(self): await at("closes")
host.add(Wrong, stop_timeout=3)
"""


@pytest.mark.parametrize(
    ("run", "step", "how", "code"),
    [
        (KEPT, "run ends", "raises", exit_codes.SERVICE_FAILED),
        (KEPT, "closes", "raises", exit_codes.SERVICE_FAILED),
        (KEPT, "is none now", "hangs", exit_codes.WOULD_NOT_STOP),
        (KEPT, "run ends", "ignores", exit_codes.WOULD_NOT_STOP),
        (KEPT, "closes", "ignores", exit_codes.WOULD_NOT_STOP),
        (EMBEDDED, "closes", "raises", exit_codes.SERVICE_FAILED),
        (EMBEDDED, "is none now", "hangs", exit_codes.WOULD_NOT_STOP),
        (EMBEDDED, "run ends", "ignores", exit_codes.WOULD_NOT_STOP),
    ],
)
def test_s06_the_exit_code_of_what_went_wrong_at_the_stop(
    tmp_path: Path, run: str, step: str, how: str, code: int
) -> None:
    body = WRONG.replace("AT:", f"{step!r}:").replace("HOW()", f"{how}()")
    with Program(tmp_path, body, run) as program:
        program.says("is primary now")
        program.send(signal.SIGTERM)
        for later in ("run ends", "is none now", "closes"):
            program.says(later)
        assert program.leaves() == code
