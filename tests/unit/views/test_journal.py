"""The picture of the journal, read from real stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.journal import Entry, Journal
from locum.store import ANY
from locum.testing.instances import owner_named
from locum.views.journal import RunningTerm, read_journal
from tests.unit.kit import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path / "s.db") as store:
        yield store


def entry(token: int, service: str = "settle") -> Entry:
    return Entry(
        scope=f"election/{service}",
        token=token,
        instance="web-1",
        since="s",
        until="u",
        why="resigned",
        told_by="web-1",
    )


async def take(store: Store, token: int) -> None:
    held = {"session": "a" * 32, "attempt": "x", "instance": "web-2", "since": "s"}
    value = json.dumps({"token": token, "holder": held, "past": None}).encode()
    await store.write("grant/election/settle", value, expect=ANY)


async def test_nothing_has_happened(store: Store) -> None:
    assert await read_journal(store) == ()


async def test_the_newest_is_last_whenever_it_was_noted(store: Store) -> None:
    for token in (3, 1, 2, 70):  # 70 stands in a slot of the ring before 65
        await Journal(store).note(entry(token))
    (journal,) = await read_journal(store)
    assert [one.token for one in journal.entries] == [1, 2, 3, 70]
    assert journal.running is None


async def test_each_service_has_its_own(store: Store) -> None:
    await Journal(store).note(entry(1))
    await Journal(store).note(entry(9, "settle_more"))
    assert [(one.name, len(one.entries)) for one in await read_journal(store)] == [("settle", 1), ("settle_more", 1)]
    assert [one.name for one in await read_journal(store, "settle")] == ["settle"]


async def test_the_term_that_runs_is_there_too(store: Store) -> None:
    await store.open_session(owner_named("web-2").to_bytes(), nanoseconds(6), "a" * 32)
    await Journal(store).note(entry(1))
    await take(store, 2)
    (journal,) = await read_journal(store)
    assert journal.running == RunningTerm(2, "web-2", "s")
    await store.close_session("a" * 32, reason=b"x")
    (journal,) = await read_journal(store)
    assert journal.running is None


async def test_a_term_never_runs_and_has_ended_at_once(store: Store) -> None:
    await store.open_session(owner_named("web-2").to_bytes(), nanoseconds(6), "a" * 32)
    await take(store, 2)
    await Journal(store).note(entry(2))
    (journal,) = await read_journal(store)
    assert journal.running is None


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b'{"token": "x"}', b'{"token": 1}'])
async def test_a_corrupt_record_spoils_nothing_else(store: Store, value: bytes) -> None:
    await Journal(store).note(entry(2))
    await store.write("journal/election/settle/1", value, expect=ANY)
    await store.write("grant/election/settle", value, expect=ANY)
    (journal,) = await read_journal(store)
    assert [one.token for one in journal.entries] == [2]
    assert len(journal.troubles) == 2
