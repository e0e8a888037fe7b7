"""What it costs to stand by: nothing for each election while nothing changes; and a lost wake-up is made up for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from locum.scopes import Scope
from locum.store import ABSENT
from locum.stores.sqlite import store as driver
from tests.unit.kit import LONG, instance, soon, until

if TYPE_CHECKING:
    from pathlib import Path

    from locum.testing.faults import FaultyStore

POLL = 0.1
ELECTIONS = 12
ROUNDS = 15


@pytest.fixture(autouse=True)
def everyone_polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_POLL_WATCHED", POLL)


def looks(store: FaultyStore) -> int:
    return store.answered("list")


async def asked_about_all(store: FaultyStore, *, more: int) -> None:
    """Wait until a store was asked so much more often whether it has changed at all."""
    before = store.answered("sessions", "")
    await until(lambda: store.answered("sessions", "") >= before + more, "the poll of all who wait")


async def test_who_stands_by_looks_at_nothing_that_has_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with instance(path, "web-1") as one, instance(path, "web-2") as other, Scope("waiting") as scope:
        names = [f"election-{number}" for number in range(ELECTIONS)]
        for name in names:
            await soon(one.election(name).win())
        before = looks(other.store)
        for name in names:
            scope.spawn(other.election(name).win(), name=name)
        await until(lambda: looks(other.store) >= before + 2 * ELECTIONS, "all to have found that it is not their turn")
        before = 0
        async with asyncio.timeout(LONG):
            while before != looks(other.store):  # they learn of what they have changed themselves
                before = looks(other.store)
                await asked_about_all(other.store, more=ROUNDS)
        before, asked = looks(other.store), len(other.store.calls)
        await asked_about_all(other.store, more=ROUNDS)
        assert looks(other.store) == before
        assert len(other.store.calls) - asked < 2 * ROUNDS, "it is asked once for all of them"


async def test_a_lost_wake_up_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    async with instance(path, "web-1") as one, instance(path, "web-2") as other, Scope("waiting") as scope:
        election = one.election("settlement")
        term = await soon(election.win())
        waiting = scope.spawn(other.election("settlement").win(), name="waiting")
        await asked_about_all(other.store, more=2)
        subscriptions = other.store.inner._wakeups._subscriptions  # type: ignore[attr-defined]
        monkeypatch.setattr(subscriptions, "tell", lambda keys: None)
        monkeypatch.setattr(subscriptions, "tell_all", lambda: None)
        await election.resign(term, "resigned")
        await one.store.write("something", b"else", expect=ABSENT)
        assert (await soon(waiting)).token == term.token + 1
