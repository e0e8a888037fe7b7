"""A store that ends, and one that forgets: what was acknowledged is kept, or its loss is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from locum.errors import SessionClosedError, StoreReplacedError
from locum.store import ABSENT, ANY, SessionState
from locum.testing.conformance.contract import Contract, promises
from locum.testing.conformance.harness import Ability
from locum.testing.conformance.kit import TTL, open_one, seen_now, state_of

if TYPE_CHECKING:
    from locum.store import Guarantees, Store
    from locum.testing.conformance.contract import Connect
    from locum.testing.conformance.harness import StoreHarness

__all__ = ["DurabilityContract", "LossContract"]


class DurabilityContract(Contract):
    """What is promised of a store that ends at any moment and comes back (R26)."""

    needs: ClassVar[tuple[Ability, ...]] = (Ability.CRASH,)

    @classmethod
    def binds(cls, guarantees: Guarantees) -> bool:
        """Only what promises it."""
        return guarantees.durable

    @promises("durable")
    async def test_what_was_acknowledged_survives_a_crash(self, connect: Connect, place: StoreHarness) -> None:
        before = await connect()
        opened, closed = await open_one(before), await open_one(before)
        await before.close_session(closed, reason=b"was stopped")
        record = await before.write("a", b"kept", expect=ABSENT, session=opened)
        gone = await before.write("b", b"gone", expect=ABSENT)
        await before.delete("b", expect=gone.revision)
        seen = await seen_now(before)
        await place.crash()
        after = await connect()
        assert await after.read("a") == record
        assert await after.read("b") is None
        assert await state_of(after, opened) is SessionState.OPEN
        with pytest.raises(SessionClosedError):
            await after.open_session(b"me", TTL, closed)
        now = await seen_now(after)
        assert now.incarnation == seen.incarnation
        assert (await after.write("c", b"", expect=ABSENT)).revision > seen.revision, "revisions never come back"


class LossContract(Contract):
    """What is promised of a store that was wiped, or put back to what it was (R24, R25)."""

    needs: ClassVar[tuple[Ability, ...]] = (Ability.WIPE, Ability.PUT_BACK)

    async def test_a_store_that_was_put_back_is_refused_until_it_is_adopted(
        self, store: Store, place: StoreHarness
    ) -> None:
        await open_one(store)
        await place.save()
        lost = await store.write("a", b"lost", expect=ANY)
        await place.put_back()
        for _ in range(2):
            with pytest.raises(StoreReplacedError):
                await store.read("a")
        now = await store.adopt(max_ttl=TTL)
        assert now.revision > lost.revision, "revisions never come back"
        assert await store.read("a") is None
        sessions = await store.sessions()
        assert (sessions.by_id, sessions.quarantined) == ({}, True)

    async def test_what_was_once_found_to_be_another_stays_refused_whatever_it_becomes(
        self, connect: Connect, place: StoreHarness
    ) -> None:
        store = await connect()
        await seen_now(store)
        await place.save()
        await store.write("a", b"lost", expect=ANY)
        await place.put_back()
        with pytest.raises(StoreReplacedError):
            await store.read("a")
        stranger = await connect()
        for _ in range(3):
            await stranger.write("a", b"of another history", expect=ANY)  # the revision is above what was seen, again
        with pytest.raises(StoreReplacedError):
            await store.read("a")

    async def test_a_store_that_was_wiped_is_refused_until_it_is_adopted(
        self, connect: Connect, place: StoreHarness
    ) -> None:
        store, other = await connect(), await connect()
        session = await open_one(store, ttl=2 * TTL)
        await seen_now(other)
        before = await seen_now(store)
        await place.wipe()
        for one in (store, other):
            with pytest.raises(StoreReplacedError):
                await one.sessions()
        now = await store.adopt(max_ttl=2 * TTL)
        assert now.incarnation != before.incarnation
        assert now.revision > before.revision, "revisions never come back"
        assert await other.adopt(max_ttl=TTL) == now, "one decides"
        sessions = await other.sessions([session])
        assert (sessions.quarantined, sessions.max_ttl) == (True, 2 * TTL)
        assert not sessions.by_id[session].is_open

    async def test_a_new_connection_that_knows_of_a_wiped_store_makes_it_in_quarantine(
        self, connect: Connect, place: StoreHarness
    ) -> None:
        store = await connect()
        seen = await seen_now(store)
        await store.close()
        await place.wipe()
        other = place.make("billing")
        other.seen = seen
        try:
            await other.open()
            with pytest.raises(StoreReplacedError):
                await other.read("a")
            stranger = await connect()
            assert (await stranger.sessions()).quarantined
            await other.adopt(max_ttl=TTL)
            assert (await other.sessions()).quarantined
        finally:
            await other.close()
