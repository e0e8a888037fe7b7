"""The incarnation: whether the store is the one that was seen (R24, R25)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from locum.errors import StoreReplacedError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY, INCARNATION, Seen, SessionState
from locum.testing.conformance.contract import Contract
from locum.testing.conformance.kit import (
    CHANGES,
    TTL,
    call_of,
    heard,
    open_one,
    picture_of,
    quiet,
    seen_now,
    state_of,
    together,
)

if TYPE_CHECKING:
    from locum.store import Store
    from locum.testing.conformance.contract import Connect
    from locum.testing.conformance.harness import StoreHarness

__all__ = ["IncarnationContract"]


class IncarnationContract(Contract):
    """What is promised of a store that is not the one that was seen, and of its quarantine."""

    # -- who only looks

    async def test_a_store_that_is_not_there_is_not_made_by_one_who_only_looks(self, place: StoreHarness) -> None:
        looking, making = place.make("billing"), place.make("billing")
        looking.call_timeout = making.call_timeout = 10.0
        try:
            for _ in range(2):  # the first one has left nothing behind
                with pytest.raises(StoreUnavailableError, match="there is no store yet"):
                    await looking.open(make=False)
            await making.open()
            await looking.open(make=False)
            assert (await looking.sessions()).incarnation == (await making.sessions()).incarnation
        finally:
            await looking.close()
            await making.close()

    # -- what was seen

    async def test_every_answer_is_seen(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        assert store.seen is not None
        first = await store.write("a", b"", expect=ABSENT)
        assert store.seen == Seen((await store.sessions()).incarnation, first.revision)
        second = await other.write("a", b"", expect=ANY)
        await store.read("a")
        assert store.seen.revision == second.revision
        await store.delete("a", expect=ANY)
        assert store.seen.revision > second.revision

    async def test_what_was_seen_last_may_be_handed_on(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        other.seen = store.seen
        await other.write("a", b"", expect=ABSENT)
        assert other.seen is not None
        assert store.seen is not None
        assert other.seen.incarnation == store.seen.incarnation

    @pytest.mark.parametrize("call", ["read", "list", "sessions", "health", *CHANGES])
    @pytest.mark.parametrize("what", ["older", "other"])
    async def test_a_store_that_is_not_the_one_seen_is_refused_by_every_call(
        self, connect: Connect, what: str, call: str
    ) -> None:
        witness, store = await connect(), await connect()
        mine, theirs = await open_one(store), await open_one(store)
        await store.write("a", b"", expect=ABSENT)
        before = await picture_of(witness)
        assert store.seen is not None
        store.seen = (
            replace(store.seen, revision=store.seen.revision + 1)
            if what == "older"
            else Seen(random_id(), store.seen.revision)
        )
        for _ in range(2):
            with pytest.raises(StoreReplacedError, match="not the one that this process has worked with"):
                await call_of(store, call, mine, theirs)
        with pytest.raises(StoreReplacedError):
            await store.read("a")
        assert await picture_of(witness) == before, "it was refused, and has changed something"

    async def test_a_store_as_it_was_seen_is_adopted_without_a_change(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(store)
        before = await picture_of(other)
        assert await store.adopt(max_ttl=TTL) == store.seen
        assert await picture_of(other) == before
        await store.beat(session, 1)

    async def test_an_older_store_is_adopted_as_a_new_incarnation_in_quarantine(self, connect: Connect) -> None:
        store, other = await connect(), await connect(namespace="other")
        mine, theirs = await open_one(store), await open_one(other, ttl=2 * TTL)
        kept = await store.write("a", b"kept", expect=ABSENT)
        await store.write("bound", b"", expect=ABSENT, session=mine)
        assert store.seen is not None
        ahead = replace(store.seen, revision=store.seen.revision + 1_000_000)
        store.seen = ahead
        adopted = await store.adopt(max_ttl=1)
        assert adopted == store.seen
        assert adopted.incarnation != ahead.incarnation
        assert adopted.revision > ahead.revision, "revisions never come back"
        sessions = await store.sessions([mine])
        assert (sessions.incarnation, sessions.quarantined) == (adopted.incarnation, True)
        assert sessions.max_ttl == 2 * TTL, "the longest of all namespaces"
        assert sessions.by_id[mine].is_closed
        assert b"new incarnation" in sessions.by_id[mine].reason
        assert await store.read("a") == kept
        assert await store.read("bound") is None
        with pytest.raises(StoreReplacedError):
            await other.sessions()
        assert await other.adopt(max_ttl=1) == adopted, "what somebody else has begun is taken as it is"
        assert await state_of(other, theirs) is SessionState.CLOSED

    async def test_a_strange_store_is_adopted_as_a_new_incarnation(self, store: Store) -> None:
        session = await open_one(store)
        assert store.seen is not None
        found = store.seen
        for strange in (Seen(random_id(), 0), Seen(random_id(), found.revision + 7)):
            store.seen = strange
            adopted = await store.adopt(max_ttl=TTL)
            assert adopted.incarnation not in (strange.incarnation, found.incarnation)
            assert adopted.revision > max(strange.revision, found.revision)
            sessions = await store.sessions([session])
            assert sessions.quarantined
            assert sessions.by_id[session].is_closed

    async def test_of_many_who_adopt_one_decides(self, connect: Connect) -> None:
        stores = [await connect() for _ in range(4)]
        await open_one(stores[0])
        seen = [await seen_now(store) for store in stores]
        for ahead, store in enumerate(stores, 1):
            store.seen = replace(seen[0], revision=seen[0].revision + ahead * 10)
        first = await together(*(store.adopt(max_ttl=TTL) for store in stores))
        again = await together(*(store.adopt(max_ttl=TTL) for store in stores))
        assert {one.incarnation for one in (*first, *again)} == {first[0].incarnation}
        assert (await stores[0].sessions()).quarantined

    async def test_an_adopted_store_goes_on_working(self, store: Store) -> None:
        seen = await seen_now(store)
        store.seen = replace(seen, revision=seen.revision + 1)
        async with store.changes(["p/"]) as changes:
            await store.adopt(max_ttl=TTL)
            await heard(store, changes)  # whoever waits looks again, at the store as it is now
            session = await open_one(store)
            await store.write("p/a", b"", expect=ABSENT, session=session)
            while not (await heard(store, changes)).keys and store.guarantees().pushed_changes:
                pass  # whoever is polled for tells no keys

    # -- an operator's, and its quarantine

    async def test_a_new_store_is_open_at_once(self, store: Store) -> None:
        assert not (await store.sessions()).quarantined

    async def test_renewing_begins_a_new_incarnation_whatever_is_there(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(other)
        before = await seen_now(other)
        first = await store.renew(max_ttl=3 * TTL)
        second = await store.renew(max_ttl=TTL)
        assert before.revision < first.revision < second.revision
        assert len({before.incarnation, first.incarnation, second.incarnation}) == 3
        sessions = await store.sessions([session])
        assert (sessions.incarnation, sessions.quarantined, sessions.max_ttl) == (second.incarnation, True, 3 * TTL)
        assert sessions.by_id[session].is_closed
        with pytest.raises(StoreReplacedError):
            await other.beat(session, 1)
        assert await other.adopt(max_ttl=TTL) == second

    async def test_a_quarantine_lasts_until_it_is_lifted_for_that_incarnation(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        old = (await seen_now(store)).incarnation
        new = (await store.renew(max_ttl=TTL)).incarnation
        await other.adopt(max_ttl=TTL)
        assert not await store.lift_quarantine(old)
        assert (await store.sessions()).quarantined
        assert await store.lift_quarantine(new)
        assert await other.lift_quarantine(new), "it is open already"
        assert not await other.lift_quarantine(old)
        assert not (await other.sessions()).quarantined

    async def test_the_end_of_a_quarantine_wakes_every_namespace(self, connect: Connect) -> None:
        store, other = await connect(), await connect(namespace="other")
        new = (await store.renew(max_ttl=TTL)).incarnation
        await other.adopt(max_ttl=TTL)
        async with quiet(other, [INCARNATION]) as changes:
            await store.lift_quarantine(new)
            assert (await heard(other, changes)).keys <= {INCARNATION}

    async def test_a_new_incarnation_wakes_every_reader(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with quiet(other, ["p/"]) as changes:
            await store.renew(max_ttl=TTL)
            await heard(other, changes)

    async def test_sessions_open_and_records_change_in_quarantine(self, store: Store) -> None:
        await store.renew(max_ttl=TTL)
        session = await open_one(store)
        await store.write("a", b"", expect=ABSENT, session=session)
        await store.beat(session, 1)
