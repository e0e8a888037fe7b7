"""The memory store: what it adds to the contract, as a server that forgets and a connection over a wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest

from locum.clock import NANOSECONDS, Clock, nanoseconds
from locum.coordination.coordinator import Coordinator
from locum.errors import (
    ConfigurationError,
    OutcomeUnknownError,
    SessionClosedError,
    StoreReplacedError,
    StoreUnavailableError,
)
from locum.exit_codes import BAD_CONFIGURATION
from locum.names import random_id
from locum.registry import make_store
from locum.store import ABSENT, ANY, SessionState
from locum.stores.memory import MemoryServer, MemoryStore, Wire
from locum.testing.conformance.kit import open_one, state_of
from tests.unit.kit import LONG, ManualClock, soon, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


T = TypeVar("T")
TTL = nanoseconds(60)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> MemoryServer:
    return MemoryServer("unit", clock=clock)


@pytest.fixture
async def store(server: MemoryServer, clock: ManualClock) -> AsyncIterator[MemoryStore]:
    async with AsyncExitStack() as stack:
        yield await opened(stack, server, clock)


async def opened(stack: AsyncExitStack, server: MemoryServer, clock: Clock, *, wire: Wire | None = None) -> MemoryStore:
    store = MemoryStore(server, namespace="billing", clock=clock, wire=wire)
    await store.open()
    stack.push_async_callback(store.close)
    return store


class BadWire(Wire):
    """Loses what it is told to lose."""

    def __init__(self) -> None:
        self.loses_request = self.loses_answer = self.loses_wake_ups = False
        self.copies = 1

    async def carry(self, call: str, request: Callable[[], T]) -> T:
        if self.loses_request:
            await asyncio.Event().wait()
        for _ in range(self.copies - 1):
            request()
        answer = await super().carry(call, request)
        if self.loses_answer:
            await asyncio.Event().wait()
        return answer

    def push(self, wake_up: Callable[[], None]) -> None:
        if not self.loses_wake_ups:
            super().push(wake_up)


# -- the server


async def test_what_came_after_a_snapshot_is_forgotten(server: MemoryServer, store: MemoryStore) -> None:
    session = await open_one(store)
    kept = await store.write("a", b"kept", expect=ABSENT)
    before = server.snapshot()
    await store.write("a", b"forgotten", expect=ANY)
    await store.close_session(session, reason=b"")
    server.restore(before)
    with pytest.raises(StoreReplacedError, match="it is older than what was seen of it"):
        await store.read("a")
    store.seen = None
    assert await store.read("a") == kept
    assert await state_of(store, session) is SessionState.OPEN
    await store.write("a", b"again", expect=ANY)
    server.restore(before)
    store.seen = None
    assert await store.read("a") == kept, "a snapshot is put back as often as one likes"


async def test_a_wiped_store_is_gone_until_it_is_adopted_in_quarantine(
    server: MemoryServer, store: MemoryStore
) -> None:
    await open_one(store)
    before = store.seen
    assert before is not None
    server.wipe()
    for _ in range(2):
        with pytest.raises(StoreReplacedError, match="it is gone"):
            await store.sessions()
    now = await store.adopt(max_ttl=TTL)
    assert now.incarnation != before.incarnation
    assert now.revision > before.revision
    sessions = await store.sessions()
    assert (sessions.by_id, sessions.quarantined, sessions.max_ttl) == ({}, True, TTL)


async def test_a_new_connection_to_a_wiped_store_that_knows_of_it_makes_it_in_quarantine(
    server: MemoryServer, store: MemoryStore, clock: ManualClock
) -> None:
    server.wipe()
    async with AsyncExitStack() as stack:
        other = MemoryStore(server, namespace="billing", clock=clock)
        other.seen = store.seen
        stack.push_async_callback(other.close)
        await other.open()
        with pytest.raises(StoreReplacedError):
            await other.read("a")
        await other.adopt(max_ttl=TTL)
        assert (await other.sessions()).quarantined


async def test_a_tombstone_is_kept_for_a_day_and_as_long_as_a_record_names_it(
    store: MemoryStore, clock: ManualClock
) -> None:
    named, forgotten = await open_one(store), await open_one(store)
    await store.write("grant/a", b'{"session": "' + named.encode() + b'"}', expect=ABSENT)
    for session in (named, forgotten):
        await store.close_session(session, reason=b"")
    clock.instant += 24 * 3600 * NANOSECONDS
    await open_one(store)
    assert await state_of(store, forgotten) is SessionState.CLOSED
    clock.instant += 1
    await open_one(store)
    assert await state_of(store, forgotten) is SessionState.UNKNOWN
    assert await state_of(store, named) is SessionState.CLOSED
    with pytest.raises(SessionClosedError):
        await store.open_session(b"me", TTL, named)


def test_the_same_operations_give_the_same_answers(clock: ManualClock) -> None:
    def story() -> list[object]:
        ids = iter("abc")
        server = MemoryServer("story", clock=clock, new_id=lambda: next(ids))
        seen = server.open(None)
        told: list[object] = [seen]
        server.listen("billing", told.append)
        told.append(server.serve(seen, lambda: server.open_session("billing", b"me", TTL, "0" * 32)))
        told.append(server.renew(seen, TTL))
        told.append(server.snapshot())
        return told

    assert story() == story()


# -- the wire


async def test_a_lost_request_was_not_done_and_a_lost_answer_was(server: MemoryServer, store: MemoryStore) -> None:
    async with AsyncExitStack() as stack:
        wire = BadWire()
        far = await opened(stack, server, Clock(), wire=wire)
        far.call_timeout = 0.02
        wire.loses_request = True
        with pytest.raises(OutcomeUnknownError, match="write on memory://unit"):
            await far.write("a", b"lost", expect=ABSENT)
        assert await store.read("a") is None
        wire.loses_request, wire.loses_answer = False, True
        seen = far.seen
        with pytest.raises(OutcomeUnknownError):
            await far.write("a", b"done", expect=ABSENT)
        assert far.seen == seen, "what nobody was told of was not seen"
        assert await store.read("a") is not None


async def test_a_request_that_comes_twice_is_done_twice(server: MemoryServer) -> None:
    async with AsyncExitStack() as stack:
        wire = BadWire()
        far = await opened(stack, server, Clock(), wire=wire)
        wire.copies = 2
        first = await far.write("a", b"", expect=ANY)
        assert first.revision == first.created + 1


async def test_calls_on_their_way_end_when_the_connection_is_closed(server: MemoryServer) -> None:
    async with AsyncExitStack() as stack:
        wire = BadWire()
        far = await opened(stack, server, Clock(), wire=wire)
        far.call_timeout = 10 * LONG
        wire.loses_answer = True
        call = asyncio.ensure_future(far.read("a"))
        await turns()
        await far.close()
        with pytest.raises(OutcomeUnknownError, match="the connection was closed"):
            await soon(call)
        with pytest.raises(StoreUnavailableError, match="not open"):
            await far.read("a")


async def test_a_lost_wake_up_is_made_up_for_by_the_next(server: MemoryServer, store: MemoryStore) -> None:
    async with AsyncExitStack() as stack:
        wire = BadWire()
        far = await opened(stack, server, Clock(), wire=wire)
        async with far.changes(["p/"]) as changes:
            wire.loses_wake_ups = True
            await store.write("p/a", b"", expect=ANY)
            wire.loses_wake_ups = False
            waiting = asyncio.ensure_future(anext(changes))
            await turns()
            assert not waiting.done()
            await store.write("p/b", b"", expect=ANY)
            assert (await soon(waiting)).keys == {"p/b"}


# -- by its URL


async def test_a_url_names_a_server_of_this_process() -> None:
    name = random_id()
    one, same, other = (
        make_store(f"memory://{server}", namespace="billing", clock=Clock()) for server in (name, name, f"{name}-2")
    )
    for store in (one, same, other):
        await store.open()
    written = await one.write("a", b"", expect=ABSENT)
    assert await same.read("a") == written
    assert await other.read("a") is None
    for store in (one, same, other):
        await store.close()


@pytest.mark.parametrize("url", ["memory://", "memory:///a", "memory://a/b", "memory://a?b", "memory://a b"])
def test_a_url_that_names_none_is_told_how_to_write_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"memory://billing|the name of a memory store"):
        make_store(url, namespace="billing", clock=Clock())


async def test_a_coordinator_leads_on_it_though_its_keeper_is_another_thread() -> None:
    url = f"memory://{random_id()}"
    async with Coordinator.connect(url, instance="one") as one, Coordinator.connect(url, instance="other") as other:
        election = other.election("settlement")
        async with one.election("settlement").lead() as term:
            waiting = asyncio.ensure_future(election.win())
            await turns()
            assert not waiting.done()
        successor = await soon(waiting)
        assert successor.token > term.token
        await election.resign(successor, "was stopped")


def test_a_keeper_process_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text("""
from locum import Host

host = Host("billing", store="memory://billing")

@host.active_passive
async def work() -> None: ...

if __name__ == "__main__":
    host.run()
""")
    done = subprocess.run(
        [sys.executable, "billing.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == BAD_CONFIGURATION, done.stderr
    assert "lives within one process" in done.stderr
