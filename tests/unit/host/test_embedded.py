"""A host inside a process that is not Locum's: its services, its end, and what will not end (R7, R18, R19)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from locum import Host, Stopping, Term, TermEnded, exit_codes
from locum.coordination.grant import Grant, grant_key
from locum.coordination.request import Request, request_key
from locum.errors import ConfigurationError, StartError
from locum.services.background import BackgroundService
from locum.store import ANY
from tests.unit.keeper.kit import keepers, tasks
from tests.unit.kit import open_files, opened, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.faults import FaultyStore

GRANT = grant_key("election/settle")


_works: list[Work] = []


@pytest.fixture(autouse=True)
async def _let_go() -> AsyncIterator[None]:
    """A stubborn body would hold up the end of the loop."""
    yield
    for work in _works:
        work.let_go.set()
    _works.clear()
    await turns()


class Work:
    """A body that the test watches.

    Attributes:
        terms: Under which it has begun.
        let_go: Ends it, if it is stubborn.
    """

    def __init__(self, *, stubborn: bool = False) -> None:
        self.terms: list[Term] = []
        self.began, self.let_go = asyncio.Event(), asyncio.Event()
        self._stubborn = stubborn
        _works.append(self)

    async def settle(self, term: Term) -> None:
        self.terms.append(term)
        self.began.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                if not self._stubborn:
                    raise


def made(url: str, name: str, work: Work, *, ttl: float = 20.0, stop_timeout: float = 20.0) -> Host:
    host = Host("billing", store=url, instance=name, ttl=ttl)
    host.active_passive(stop_timeout=stop_timeout)(work.settle)
    return host


async def modes(store: FaultyStore) -> dict[str, str]:
    """What each instance shows of the service."""
    members = [json.loads(record.value) for record in (await store.list("member/")).records]
    return {member["instance"]: member["services"]["settle"]["mode"] for member in members}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def ask_to_resign(store: FaultyStore, token: int) -> None:
    await store.write(request_key("election/settle"), Request(token, "asked").to_bytes(), expect=ANY)


async def test_services_run_beside_the_applications_own_code(url: str, path: Path) -> None:
    first, second = Work(), Work()
    async with made(url, "web-1", first).lifespan(object()):
        await soon(first.began.wait())
        async with made(url, "web-2", second).lifespan():
            assert not second.began.is_set()
        assert first.terms[0].is_current
    assert first.terms[0].ended == "was stopped"
    async with opened(path) as store:
        assert Grant.of(await store.read(GRANT)).holder is None
        assert (await store.sessions()).by_id == {}


async def test_a_stop_hands_over_to_the_other_one(url: str) -> None:
    first, second = Work(), Work()
    async with made(url, "web-2", second).lifespan():
        await soon(second.began.wait())
        async with made(url, "web-1", first).lifespan():
            await asyncio.sleep(0)
        again = Work()
        async with made(url, "web-3", again).lifespan():
            assert not again.began.is_set()
            second.let_go.set()  # it returns, and keeps its grant
    assert second.terms[0].token == 1


async def test_nothing_is_left_after_the_stop(url: str) -> None:
    async with made(url, "web-1", Work()).lifespan():
        pass
    await until(lambda: not keepers(), "the end of the threads")
    files = open_files()
    work = Work()
    async with made(url, "web-1", work).lifespan():
        await soon(work.began.wait())
    await until(lambda: not keepers(), "the end of the threads")
    assert open_files() == files
    assert tasks() == []


async def test_what_cannot_run_is_said_before_the_application_serves(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="no services"):
        async with Host("billing", store=url).lifespan():
            pass
    with pytest.raises(ConfigurationError, match="does not exist"):
        async with made(f"sqlite:///{tmp_path}/nowhere/store.db", "web-1", Work()).lifespan():
            pass
    assert not keepers()
    assert tasks() == []


async def test_a_service_that_does_not_start_stops_the_others_and_closes_the_session(url: str, path: Path) -> None:
    class Broken(BackgroundService):
        async def start(self) -> None:
            raise LookupError("no such queue")

        async def run(self, stopping: Stopping) -> None:
            raise AssertionError("it has not started")

    host = made(url, "web-1", Work())
    host.add(Broken)
    with pytest.raises(StartError, match="no such queue"):
        async with host.lifespan():
            pass
    assert not keepers()
    async with opened(path) as store:
        assert (await store.sessions()).by_id == {}


async def test_a_body_that_will_not_end_counts_as_ended_and_is_shown(url: str, path: Path) -> None:
    """Asked to resign: the session is closed under it, another one takes over, and this one is no candidate (R19)."""
    stubborn, next_one = Work(stubborn=True), Work()
    ended: list[Any] = []
    host = made(url, "web-1", stubborn, ttl=1.0, stop_timeout=0.1)
    host.on(TermEnded)(ended.append)
    async with opened(path) as store, host.lifespan():
        await soon(stubborn.began.wait())
        term = stubborn.terms[0]
        async with made(url, "web-2", next_one, ttl=1.0).lifespan():
            await ask_to_resign(store, term.token)
            await soon(next_one.began.wait())
            assert not term.is_current
            assert next_one.terms[0].token > term.token

            async def shows(instance: str, mode: str) -> None:
                async with store.changes(["member/"]) as changes:
                    while (await modes(store)).get(instance) != mode:
                        await soon(anext(changes))

            await shows("web-1", "still running")
            assert [event.why for event in ended] == ["settle did not stop within 0.1 s"]
            stubborn.let_go.set()
            await shows("web-1", "passive")
            assert next_one.terms[0].is_current
        await until(lambda: len(stubborn.terms) == 2, "a later term of the one that has ended at last")


async def test_a_stop_does_not_wait_for_a_body_that_will_not_end(
    url: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = Work(stubborn=True)
    async with made(url, "web-1", stubborn, ttl=1.0, stop_timeout=0.1).lifespan():
        await soon(stubborn.began.wait())
    assert "did not stop within 0.1 s" in caplog.text
    assert not stubborn.terms[0].is_current
    async with opened(path) as store:
        assert (await store.sessions()).by_id == {}, "counted as ended when its session was closed"
    stubborn.let_go.set()


async def test_a_stop_does_not_wait_for_a_body_that_has_outlived_its_term(url: str, path: Path) -> None:
    stubborn = Work(stubborn=True)
    async with opened(path) as store:
        async with made(url, "web-1", stubborn, ttl=1.0, stop_timeout=0.1).lifespan():
            await soon(stubborn.began.wait())
            await ask_to_resign(store, stubborn.terms[0].token)
            async with store.changes(["member/"]) as changes:
                while (await modes(store)).get("web-1") != "still running":
                    await soon(anext(changes))
        assert (await store.sessions()).by_id == {}
    stubborn.let_go.set()


def test_under_a_host_of_its_own_the_exit_code_tells(tmp_path: Path) -> None:
    """`run(embedded=True)`: the process is the host's, and leaves as a worker does."""
    import signal
    import subprocess
    import sys

    program = tmp_path / "app.py"
    program.write_text(
        "import asyncio, sys\n"
        "from locum import Host\n"
        "host = Host('billing', store=sys.argv[1], ttl=1)\n"
        "@host.active_passive(stop_timeout=0.1)\n"
        "async def settle(term):\n"
        "    print('begun', flush=True)\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n"
        "            if sys.argv[2] != 'stubborn':\n"
        "                raise\n"
        "host.run(embedded=True)\n"
    )
    for how, code in (("obedient", exit_codes.CLEAN), ("stubborn", exit_codes.WOULD_NOT_STOP)):
        command = [sys.executable, str(program), f"sqlite:///{tmp_path}/{how}.db", how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == code
    nowhere = [sys.executable, str(program), f"sqlite:///{tmp_path}/nowhere/store.db", "obedient"]
    assert subprocess.run(nowhere, timeout=20, check=False).returncode == exit_codes.BAD_CONFIGURATION
