"""A coordinator without a host: connected, led under, and left behind clean (R7, R15, R18, R19)."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from locum import Coordinator
from locum.coordination.grant import Grant, grant_key
from locum.errors import ConfigurationError, StoreUnavailableError, TermEndedError, UnknownStoreError
from locum.journal import Journal
from tests.unit.keeper.kit import keepers, tasks
from tests.unit.kit import open_files, opened, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from locum.coordination.term import Term

TTL = 1.0
GRANT = grant_key("election/settlement")


class Place:
    """A store's file, and how it looks from outside."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.url = f"sqlite:///{self.path}"

    def connect(self, name: str = "web-1", *, ttl: float = 20.0) -> AbstractAsyncContextManager[Coordinator]:
        return Coordinator.connect(self.url, namespace="billing", instance=name, ttl=ttl)

    async def grant(self) -> Grant:
        async with opened(self.path) as store:
            return Grant.of(await store.read(GRANT))

    async def open_sessions(self) -> int:
        async with opened(self.path) as store:
            return len((await store.sessions()).by_id)

    @asynccontextmanager
    async def held_by_a_stranger(self) -> AsyncIterator[None]:
        """Somebody who knows nothing of the queue has the file to himself."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=20)) as stranger:
            stranger.execute("BEGIN EXCLUSIVE")
            yield
            stranger.execute("ROLLBACK")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_one_leads_and_the_next_follows_at_once(place: Place) -> None:
    async with place.connect("web-1") as first, place.connect("web-2") as second:
        following = second.election("settlement")
        async with first.election("settlement").lead() as term:
            assert (term.instance, term.is_current) == ("web-1", True)
            waiting = asyncio.create_task(following.win())
        after = await soon(waiting)
        assert (after.instance, after.token) == ("web-2", term.token + 1)
        await following.resign(after, "was enough")


async def test_nothing_is_left_after_the_block(place: Place) -> None:
    async with place.connect():
        pass
    files = open_files()
    async with place.connect() as coordinator, coordinator.election("settlement").lead():
        pass
    await until(lambda: not keepers(), "the end of the threads")
    assert open_files() == files
    assert tasks() == []
    assert await place.open_sessions() == 0
    assert (await place.grant()).holder is None


async def test_what_can_never_work_is_said_at_once_and_leaves_nothing(place: Place) -> None:
    files = open_files()
    for url, wrong in (
        ("nosuch://x", UnknownStoreError),
        (f"sqlite:///{place.path.parent}/nowhere/store.db", ConfigurationError),
    ):
        with pytest.raises(wrong):
            async with Coordinator.connect(url):
                pass
    for arguments in ({"ttl": 0.1}, {"instance": "no good name"}, {"namespace": "a/b"}, {"enforcement": "hope"}):
        with pytest.raises(ConfigurationError):
            async with Coordinator.connect(place.url, **arguments):
                pass
    assert not keepers()
    assert open_files() == files
    assert tasks() == []


async def test_a_store_that_is_not_there_in_time_is_said_so(place: Place) -> None:
    async with place.connect():
        pass
    files = open_files()
    async with place.held_by_a_stranger():
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"no session within 0\.3 s"):
            async with Coordinator.connect(place.url, ttl=TTL, timeout=0.3):
                pass
        assert time.monotonic() - begun < 10
    await until(lambda: not keepers(), "the end of the threads")
    assert open_files() == files
    assert await place.open_sessions() == 0


async def test_somebody_elses_timeout_is_not_taken_for_ours(place: Place) -> None:
    with pytest.raises(TimeoutError) as raised:
        async with place.connect():
            raise TimeoutError("the user's own")
    assert str(raised.value) == "the user's own"


async def test_a_store_that_is_away_ends_the_block_and_the_next_lead_comes_after(place: Place) -> None:
    async with place.connect(ttl=TTL) as coordinator:
        election = coordinator.election("settlement")
        lost: list[Term] = []

        async def work() -> None:
            async with election.lead() as term:
                lost.append(term)
                async with place.held_by_a_stranger():
                    await soon(asyncio.Event().wait())

        with pytest.raises(TermEndedError, match="no answer from the store"):
            await work()
        assert not lost[0].is_current
        assert lost[0].is_lost
        async with election.lead(timeout=20) as term:
            assert term.token > lost[0].token


class Stubborn:
    """A task that leads, and does not end when it is told to.

    Attributes:
        told: How often it was cancelled.
    """

    def __init__(self, coordinator: Coordinator, *, stop_timeout: float = 0.1) -> None:
        self.told = 0
        self.term: asyncio.Future[Term] = asyncio.get_running_loop().create_future()
        self.let_go = asyncio.Event()
        self.task = asyncio.create_task(self._lead(coordinator, stop_timeout))

    async def _lead(self, coordinator: Coordinator, stop_timeout: float) -> None:
        async with coordinator.election("settlement").lead(stop_timeout=stop_timeout) as term:
            self.term.set_result(term)
            while not self.let_go.is_set():
                try:
                    await self.let_go.wait()
                except asyncio.CancelledError:
                    self.told += 1

    async def end(self) -> None:
        self.let_go.set()
        await soon(asyncio.wait([self.task]))


async def test_a_block_that_ignores_its_end_counts_as_ended(place: Place) -> None:
    """Asked to resign: after `stop_timeout` the session is closed under it, and somebody else takes over (R19)."""
    async with place.connect("web-1", ttl=TTL) as first, place.connect("web-2", ttl=TTL) as second:
        stubborn = Stubborn(first)
        term = await soon(stubborn.term)
        waiting = asyncio.create_task(second.election("settlement").win())
        term.ask_to_resign("was asked to")
        after = await soon(waiting)
        assert after.token > term.token
        assert stubborn.told == 1
        assert not term.is_current
        with pytest.raises(TermEndedError):
            term.check()
        with pytest.raises(TermEndedError):
            async with term.transaction(object()):
                pass
        await stubborn.end()
        assert after.is_current, "the late end of the one before has touched the next"
        assert (await place.grant()).token == after.token


async def test_a_block_that_ignores_its_loss_does_not_keep_the_grant_when_beats_are_answered_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is back between 60 % and 85 %: the session lives, the term is over, and nobody must wait for ever."""
    monkeypatch.setattr("locum.keeper.budget.Budget.cancel_at", lambda self, sent: sent + self.ttl * 25 // 100)
    async with place.connect("web-1", ttl=TTL) as first:
        stubborn = Stubborn(first)
        term = await soon(stubborn.term)
        async with place.held_by_a_stranger():
            await until(lambda: not term.is_current, "the deadline")
        monkeypatch.undo()
        assert not term.lease.is_lost
        async with place.connect("web-2", ttl=TTL) as second:
            assert (await soon(second.election("settlement").win())).token > term.token
        await stubborn.end()


async def test_leaving_ends_what_still_leads_before_the_session_is_closed(place: Place) -> None:
    ended: list[bool] = []

    async def lead(coordinator: Coordinator) -> None:
        async with coordinator.election("settlement").lead():
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append((await place.grant()).holder is not None)

    began = asyncio.Event()
    async with place.connect() as coordinator:
        task = asyncio.create_task(lead(coordinator))
        await soon(began.wait())
    with pytest.raises(TermEndedError, match="was stopped"):
        await task
    assert ended == [True], "released before the block had ended"
    grant = await place.grant()
    assert grant.holder is None
    assert grant.past is not None
    assert grant.past.why == "was stopped", "released as planned, not only closed over its head"


async def test_leaving_is_bounded_by_a_block_that_ignores_it(place: Place) -> None:
    async with place.connect(ttl=TTL) as coordinator:
        stubborn = Stubborn(coordinator)
        term = await soon(stubborn.term)
    assert not term.is_current
    assert await place.open_sessions() == 0
    await stubborn.end()


async def test_leaving_while_cancelled_still_ends_the_keeper(place: Place) -> None:
    """A keeper that was left would beat for a session that nobody works under, and hold its grants."""
    began, go = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with place.connect("web-1", ttl=3) as coordinator:
            coordinator._commons.settle(go.wait(), "something that takes its time")
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await soon(began.wait())
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()  # in the middle of the way back
    await soon(asyncio.wait([task]))
    assert task.cancelled()
    await until(lambda: not keepers(), "the end of the threads")
    assert await place.open_sessions() == 0


async def test_a_lead_that_only_met_its_deadline_is_released_when_its_work_has_ended(place: Place) -> None:
    """The session lives on, and with it the grant, which nobody here would run (R17 is for what was forgotten)."""
    async with place.connect("web-1", ttl=60) as first:
        election = first.election("settlement")
        term = await election.win()
        term.lose("lost its lease: its deadline has passed")
        election.abandon(term)
        async with place.connect("web-2", ttl=60) as second:
            next_election = second.election("settlement")
            after = await next_election.win(timeout=20)
            assert after.token == term.token + 1
            await next_election.resign(after, "was enough")
    async with opened(place.path) as store:
        entries = await Journal(store).entries("election/settlement")
    assert entries[0].why == "lost its lease: its deadline has passed"
