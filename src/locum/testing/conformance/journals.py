"""The journal on a driver's store: one entry a term, in a ring that does not grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.journal import Entry, Journal
from locum.testing.conformance.contract import Contract

if TYPE_CHECKING:
    from locum.store import Store
    from locum.testing.conformance.contract import Connect

__all__ = ["JournalContract"]


class JournalContract(Contract):
    """What is promised of the journal."""

    async def test_an_entry_is_read_by_others_as_it_was_noted(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        entry = _entry(1)
        await Journal(store).note(entry)
        assert await Journal(other).entries(entry.scope) == [entry]

    async def test_entries_come_in_the_order_in_which_they_were_noted(self, store: Store) -> None:
        for token in (3, 1, 2):
            await Journal(store).note(_entry(token))
        assert [entry.token for entry in await Journal(store).entries()] == [3, 1, 2]

    async def test_a_term_has_one_entry_whoever_notes_it(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        await Journal(store).note(_entry(1, told_by="holder"))
        await Journal(other).note(_entry(1, told_by="successor"), unless_noted=True)
        assert [entry.told_by for entry in await Journal(store).entries()] == ["holder"]

    async def test_the_ring_does_not_grow(self, store: Store) -> None:
        for token in range(1, 71):
            await Journal(store).note(_entry(token))
        entries = await Journal(store).entries()
        assert [entry.token for entry in entries] == list(range(7, 71))

    async def test_scopes_are_apart(self, store: Store) -> None:
        for scope in ("election/a", "election/a-b", "election/b"):
            await Journal(store).note(_entry(1, scope=scope))
        assert [entry.scope for entry in await Journal(store).entries("election/a")] == ["election/a"]


def _entry(token: int, *, scope: str = "election/settlement", told_by: str = "one") -> Entry:
    return Entry(
        scope=scope,
        token=token,
        instance="one",
        since="2026-01-01T00:00:00+00:00",
        until="2026-01-01T00:00:01+00:00",
        why="resigned",
        told_by=told_by,
    )
