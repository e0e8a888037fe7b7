"""What it costs to stand by: nothing for each election while nothing changes; and a lost wake-up is made up for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from locum.coordination.lock import Lock
from locum.scopes import Scope
from locum.store import ABSENT, ANY
from locum.stores.sqlite import store as driver
from tests.unit.kit import LONG, instance, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.coordination.term import Term
    from locum.testing.faults import FaultyStore
    from locum.testing.instances import Instance

POLL = 0.1
ELECTIONS = 12
ROUNDS = 15


@pytest.fixture(autouse=True)
def everyone_polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_POLL_WATCHED", POLL)


@dataclass(frozen=True)
class _Lines:
    one: Instance
    other: Instance
    names: list[str]
    terms: list[Term]
    waiting: list[asyncio.Task[Term]]


def looks(store: FaultyStore) -> int:
    return sum(name == "list" and str(key).startswith("line/") for name, key in store.answers)


def loses_wake_ups(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriptions = one.store.inner._wakeups._subscriptions  # type: ignore[attr-defined]
    monkeypatch.setattr(subscriptions, "tell", lambda keys: None)
    monkeypatch.setattr(subscriptions, "tell_all", lambda: None)


async def asked_about_all(store: FaultyStore, *, more: int) -> None:
    """Wait until a store was asked so much more often whether it has changed at all."""
    before = store.answered("sessions", "")
    await until(lambda: store.answered("sessions", "") >= before + more, "the poll of all who wait")


@asynccontextmanager
async def lines(path: Path, elections: int) -> AsyncIterator[_Lines]:
    """Two instances: one leads in all elections, and the other stands by in them, and has found that."""
    async with instance(path, "web-1") as one, instance(path, "web-2") as other, Scope("waiting") as scope:
        names = [f"election-{number}" for number in range(elections)]
        terms = [await soon(one.election(name).win()) for name in names]
        waiting = [scope.spawn(other.election(name).win(), name=name) for name in names]
        await until(lambda: looks(other.store) >= 2 * elections, "all to have found that it is not their turn")
        yield _Lines(one, other, names, terms, waiting)


async def looks_no_more(store: FaultyStore) -> int:
    """Wait until nobody looks for a while: they learn of what they have changed themselves; the looks until then."""
    before = -1
    async with asyncio.timeout(LONG):
        while before != looks(store):
            before = looks(store)
            await asked_about_all(store, more=ROUNDS)
    return before


async def test_who_stands_by_looks_at_nothing_that_has_not_changed(tmp_path: Path) -> None:
    async with lines(tmp_path / "store.db", ELECTIONS) as there:
        store = there.other.store
        before = await looks_no_more(store)
        asked = len(store.calls)
        await asked_about_all(store, more=ROUNDS)
        assert looks(store) == before
        assert len(store.calls) - asked < 2 * ROUNDS, "it is asked once for all of them"


async def test_what_it_costs_to_stand_by_does_not_grow_where_something_else_changes(tmp_path: Path) -> None:
    async with lines(tmp_path / "store.db", ELECTIONS) as there:
        store = there.other.store
        before = await looks_no_more(store)
        asked = len(store.calls)
        for _ in range(ROUNDS):
            await there.one.store.write("something", b"else", expect=ANY)
            await asked_about_all(store, more=1)
        assert looks(store) == before
        assert len(store.calls) - asked < 5 * ROUNDS, "it is asked once for all of them"


@pytest.mark.parametrize("elections", [1, ELECTIONS], ids=["few", "many"])
async def test_a_lost_wake_up_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elections: int) -> None:
    async with lines(tmp_path / "store.db", elections) as there:
        await asked_about_all(there.other.store, more=2)
        loses_wake_ups(there.other, monkeypatch)
        await there.one.election(there.names[-1]).resign(there.terms[-1], "resigned")
        await there.one.store.write("something", b"else", expect=ABSENT)
        assert (await soon(there.waiting[-1])).token == there.terms[-1].token + 1


async def test_a_lost_wake_up_of_a_death_is_made_up_for_where_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lines(tmp_path / "store.db", ELECTIONS) as there:
        await asked_about_all(there.other.store, more=2)
        loses_wake_ups(there.other, monkeypatch)
        await there.other.store.close_session(there.terms[0].lease.session, reason=b"")  # no grant has changed by that
        won = [await soon(waiting) for waiting in there.waiting]
        assert [term.token for term in won] == [term.token + 1 for term in there.terms]


async def test_f61_a_lost_watch_of_a_holders_session_costs_no_more_than_a_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds a lock that it has taken at once has no place in line: only its session tells of its death."""
    path = tmp_path / "store.db"
    async with instance(path, "web-1") as one, instance(path, "web-2") as other, Scope("waiting") as scope:
        async with Lock(one.commons, "any"):
            pass  # it knows from here on that the store is open for grants
        held = await soon(Lock(one.commons, "invoice-42").win())
        assert not (await one.store.list("line/")).records
        waiting = scope.spawn(Lock(other.commons, "invoice-42").win(), name="waiter")
        await asked_about_all(other.store, more=2)
        loses_wake_ups(other, monkeypatch)
        asked = other.store.answered("sessions", "")
        await other.store.close_session(held.lease.session, reason=b"")
        await until(waiting.done, "the next one to have it")
        assert waiting.result().token == held.token + 1
        assert other.store.answered("sessions", "") - asked <= 2, "the first poll that begins after it finds it"
