"""The journal: one entry a term, in a ring of fixed keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from locum.errors import CorruptRecordError
from locum.journal import Entry, Journal
from locum.store import ANY
from locum.testing.faults import FaultyStore
from tests.unit.kit import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ENTRY = Entry(
    scope="election/settlement",
    token=41,
    instance="web-1",
    since="2026-01-01T00:00:00+00:00",
    until="2026-01-01T00:00:09+00:00",
    why="was killed (SIGKILL)",
    told_by="web-2",
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    async with opened(tmp_path / "store.db") as store:
        yield store


def tokens(entries: list[Entry]) -> list[int]:
    return [entry.token for entry in entries]


async def test_an_entry_comes_back(store: FaultyStore) -> None:
    await Journal(store).note(ENTRY)
    assert await Journal(store).entries("election/settlement") == [ENTRY]
    assert store.count("write") == 1
    assert store.count("read") == 0


async def test_entries_come_in_the_order_in_which_they_were_noted(store: FaultyStore) -> None:
    journal = Journal(store)
    for token in (3, 70, 1):
        await journal.note(replace(ENTRY, token=token))
    assert tokens(await journal.entries("election/settlement")) == [3, 70, 1]


async def test_the_ring_keeps_the_last_64_terms(store: FaultyStore) -> None:
    journal = Journal(store)
    for token in range(1, 101):
        await journal.note(replace(ENTRY, token=token))
    assert tokens(await journal.entries("election/settlement")) == list(range(37, 101))


async def test_a_term_has_one_entry_whoever_notes_it(store: FaultyStore) -> None:
    journal = Journal(store)
    await journal.note(ENTRY)
    await journal.note(replace(ENTRY, told_by="web-1"))
    (entry,) = await journal.entries()
    assert entry.told_by == "web-1"


async def test_a_successor_leaves_the_holders_own_word_alone(store: FaultyStore) -> None:
    journal = Journal(store)
    await journal.note(replace(ENTRY, told_by="web-1"))
    await journal.note(ENTRY, unless_noted=True)
    assert [entry.told_by for entry in await journal.entries()] == ["web-1"]


async def test_an_entry_of_an_earlier_round_is_overwritten(store: FaultyStore) -> None:
    journal = Journal(store)
    await journal.note(ENTRY)
    await journal.note(replace(ENTRY, token=41 + 64), unless_noted=True)
    assert tokens(await journal.entries()) == [105]


async def test_scopes_are_apart(store: FaultyStore) -> None:
    journal = Journal(store)
    await journal.note(ENTRY)
    await journal.note(replace(ENTRY, scope="election/settlement2", token=7))
    assert tokens(await journal.entries("election/settlement")) == [41]
    assert tokens(await journal.entries("election/settlement2")) == [7]
    assert tokens(await journal.entries()) == [41, 7]
    assert await journal.entries("election/other") == []


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"token": 1}', b'{"token": "x"}'])
async def test_what_is_no_entry_is_told(store: FaultyStore, value: bytes) -> None:
    await store.write("journal/election/settlement/1", value, expect=ANY)
    with pytest.raises(CorruptRecordError, match="it is no journal entry"):
        await Journal(store).entries()
