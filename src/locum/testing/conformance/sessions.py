"""Sessions: one life each, whose end is known for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.errors import ConfigurationError, ConflictError, SessionClosedError
from locum.names import random_id
from locum.store import ABSENT, ANY, MAX_VALUE, Record, SessionState
from locum.testing.conformance.contract import Contract, promises
from locum.testing.conformance.kit import (
    TTL,
    heard,
    open_one,
    quiet,
    state_of,
    together,
)

if TYPE_CHECKING:
    from locum.store import Guarantees, Store
    from locum.testing.conformance.contract import Connect

__all__ = ["GuardContract", "ObserverContract", "SessionContract"]


class SessionContract(Contract):
    """What is promised of sessions and tombstones, and of what is bound to them."""

    # -- opening

    async def test_a_session_is_open_with_its_owner_and_ttl_and_beat_zero(self, store: Store) -> None:
        session = random_id()
        info = await store.open_session(b"\x00owner\xff", TTL, session)
        status = (await store.sessions([session])).by_id[session]
        assert (info.id, info.ttl) == (session, TTL)
        assert (status.state, status.owner, status.ttl) == (SessionState.OPEN, b"\x00owner\xff", TTL)
        assert status.beat in (0, None)
        assert status.reason == b""

    async def test_opening_again_is_harmless_and_does_not_turn_the_beat_back(self, store: Store) -> None:
        session = random_id()
        first = await store.open_session(b"me", TTL, session)
        await store.beat(session, 5)
        assert await store.open_session(b"me", TTL, session) == first
        assert (await store.sessions([session])).by_id[session].beat in (5, None)

    @pytest.mark.parametrize("session", ["", "me", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 31 + "\n", "../" * 10])
    async def test_an_id_that_is_none_is_refused(self, store: Store, session: str) -> None:
        with pytest.raises(ConfigurationError):
            await store.open_session(b"me", TTL, session)
        assert (await store.sessions()).by_id == {}

    async def test_an_owner_that_is_too_large_is_refused(self, store: Store) -> None:
        largest = await open_one(store, owner=b"x" * MAX_VALUE)
        assert len((await store.sessions([largest])).by_id[largest].owner) == MAX_VALUE
        with pytest.raises(ConfigurationError, match="65537"):
            await open_one(store, owner=b"x" * (MAX_VALUE + 1))

    @promises("least_ttl")
    async def test_a_ttl_below_the_least_is_granted_longer(self, store: Store) -> None:
        info = await store.open_session(b"me", 1, random_id())
        assert info.ttl == nanoseconds(store.guarantees().least_ttl)

    async def test_a_closed_id_never_comes_back(self, store: Store) -> None:
        session = await open_one(store)
        await store.close_session(session, reason=b"was stopped")
        for _ in range(2):
            with pytest.raises(SessionClosedError) as refusal:
                await store.open_session(b"me", TTL, session)
            assert (refusal.value.session, refusal.value.reason) == (session, "was stopped")
        assert await state_of(store, session) is SessionState.CLOSED

    async def test_the_longest_ttl_is_remembered_beyond_its_session(self, store: Store) -> None:
        assert (await store.sessions()).max_ttl == 0
        long = await open_one(store, ttl=2 * TTL)
        await open_one(store)
        await store.close_session(long, reason=b"")
        assert (await store.sessions()).max_ttl == 2 * TTL

    async def test_all_connections_see_one_incarnation(self, connect: Connect) -> None:
        one, other = await connect(), await connect(namespace="other")
        info = await one.open_session(b"me", TTL, random_id())
        assert info.incarnation == (await one.sessions()).incarnation == (await other.sessions()).incarnation != ""

    # -- what is known of them

    async def test_all_open_sessions_and_only_they_are_told_without_ids(self, store: Store) -> None:
        opened, closed = await open_one(store), await open_one(store)
        await store.close_session(closed, reason=b"")
        assert set((await store.sessions()).by_id) == {opened}

    async def test_every_id_is_told_of_known_or_not(self, store: Store) -> None:
        opened, closed, unknown = await open_one(store), await open_one(store), random_id()
        await store.close_session(closed, reason=b"why")
        found = (await store.sessions([opened, closed, unknown])).by_id
        assert [found[one].state for one in (opened, closed, unknown)] == [
            SessionState.OPEN,
            SessionState.CLOSED,
            SessionState.UNKNOWN,
        ]
        assert found[closed].reason == b"why"
        assert (await store.sessions([])).by_id == {}

    async def test_sessions_are_told_at_a_revision_not_older_than_what_was_read_before(self, store: Store) -> None:
        record = await store.write("a", b"", expect=ABSENT)
        assert (await store.sessions()).revision >= record.revision

    # -- beats

    @promises("native_sessions")
    async def test_a_beat_is_seen_by_others_unless_the_store_times_sessions_itself(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(store)
        await store.beat(session, 2**62)
        native = store.guarantees().native_sessions
        assert (await other.sessions()).by_id[session].beat == (None if native else 2**62)

    @pytest.mark.parametrize("number", [7, 6, 0])
    async def test_a_beat_that_is_not_newer_means_a_twin(self, store: Store, number: int) -> None:
        session = await open_one(store)
        await store.beat(session, 7)
        with pytest.raises(ConflictError):
            await store.beat(session, number)
        assert (await store.sessions([session])).by_id[session].beat in (7, None)

    async def test_a_closed_session_does_not_beat(self, store: Store) -> None:
        session = await open_one(store)
        await store.close_session(session, reason=b"fell silent")
        with pytest.raises(SessionClosedError) as refusal:
            await store.beat(session, 1)
        assert refusal.value.reason == "fell silent"

    async def test_an_unknown_session_does_not_beat(self, store: Store) -> None:
        with pytest.raises(SessionClosedError):
            await store.beat(random_id(), 1)

    # -- closing

    async def test_a_close_says_why_and_the_first_reason_stays(self, store: Store) -> None:
        session = await open_one(store)
        await store.close_session(session, reason=b"\xffbytes")
        await store.close_session(session, reason=b"second")
        status = (await store.sessions([session])).by_id[session]
        assert status.is_closed
        assert status.reason == b"\xffbytes"

    async def test_closing_what_was_never_opened_is_harmless(self, store: Store) -> None:
        await store.close_session(random_id(), reason=b"")

    async def test_bound_records_die_with_their_session_and_no_others(self, store: Store) -> None:
        mine, theirs = await open_one(store), await open_one(store)
        await store.write("a/mine", b"", expect=ABSENT, session=mine)
        await store.write("b/mine", b"", expect=ABSENT, session=mine)
        await store.write("a/theirs", b"", expect=ABSENT, session=theirs)
        await store.write("a/free", b"", expect=ABSENT)
        await store.close_session(mine, reason=b"")
        assert [record.key for record in (await store.list("")).records] == ["a/theirs", "a/free"]

    async def test_a_record_is_bound_by_its_last_write(self, store: Store) -> None:
        mine, theirs = await open_one(store), await open_one(store)
        await store.write("to/theirs", b"", expect=ANY, session=mine)
        await store.write("to/theirs", b"", expect=ANY, session=theirs)
        await store.write("to/none", b"", expect=ANY, session=mine)
        await store.write("to/none", b"", expect=ANY)
        await store.close_session(mine, reason=b"")
        assert [record.key for record in (await store.list("")).records] == ["to/theirs", "to/none"]

    # -- writes that lean on sessions

    async def test_a_bound_write_needs_its_session_open(self, store: Store) -> None:
        closed = await open_one(store)
        await store.close_session(closed, reason=b"dead")
        for session in (closed, random_id()):
            with pytest.raises(SessionClosedError):
                await store.write("a", b"", expect=ANY, session=session)
        assert await store.read("a") is None

    async def test_a_bound_record_never_outlives_its_session_however_close_they_come(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        for number in range(10):
            session = await open_one(store)
            written, _ = await together(
                store.write(f"a/{number}", b"", expect=ANY, session=session), other.close_session(session, reason=b"")
            )
            assert isinstance(written, Record | SessionClosedError)
            assert await store.read(f"a/{number}") is None


class ObserverContract(Contract):
    """What is promised of sessions that others watch, where the store does not time them itself (R7, R8)."""

    @classmethod
    def binds(cls, guarantees: Guarantees) -> bool:
        """A native session is never observed."""
        return not guarantees.native_sessions

    async def test_a_silent_session_is_closed_on_the_beat_that_was_watched(self, store: Store) -> None:
        session = await open_one(store)
        await store.write("bound", b"", expect=ABSENT, session=session)
        await store.beat(session, 5)
        assert not await store.close_if_silent(session, beat=4, reason=b"silent")
        assert not await store.close_if_silent(session, beat=6, reason=b"silent")
        assert await state_of(store, session) is SessionState.OPEN
        assert await store.close_if_silent(session, beat=5, reason=b"silent")
        status = (await store.sessions([session])).by_id[session]
        assert (status.is_closed, status.reason) == (True, b"silent")
        assert await store.read("bound") is None

    async def test_a_closed_session_is_closed_now_whatever_its_beat_and_its_reason_stays(self, store: Store) -> None:
        session = await open_one(store)
        await store.close_session(session, reason=b"first")
        assert await store.close_if_silent(session, beat=99, reason=b"silent")
        assert (await store.sessions([session])).by_id[session].reason == b"first"

    async def test_an_unknown_session_is_not_closed_by_silence(self, store: Store) -> None:
        unknown = random_id()
        assert not await store.close_if_silent(unknown, beat=0, reason=b"silent")
        assert await state_of(store, unknown) is SessionState.UNKNOWN

    async def test_a_close_of_a_silent_session_wakes(self, connect: Connect) -> None:
        store, observer = await connect(), await connect()
        session = await open_one(store)
        async with quiet(store, ["session/"]) as changes:
            await observer.close_if_silent(session, beat=0, reason=b"silent")
            assert (await heard(store, changes)).keys <= {f"session/{session}"}

    async def test_of_a_beat_and_a_close_on_the_beat_before_one_wins(self, connect: Connect) -> None:
        store, observer = await connect(), await connect()
        for number in range(1, 9):
            session = await open_one(store)
            beat, closed = await together(
                store.beat(session, number),
                observer.close_if_silent(session, beat=0, reason=b"silent"),
            )
            assert (beat is None) != (closed is True), (beat, closed)
            assert isinstance(beat, SessionClosedError | None)


class GuardContract(Contract):
    """What is promised of a write that is guarded by sessions (R14)."""

    @classmethod
    def binds(cls, guarantees: Guarantees) -> bool:
        """Only where guards are kept."""
        return guarantees.guarded_writes

    @promises("guarded_writes")
    async def test_if_open_needs_that_session_open(self, store: Store) -> None:
        opened, closed = await open_one(store), await open_one(store)
        await store.close_session(closed, reason=b"dead")
        with pytest.raises(SessionClosedError) as refusal:
            await store.write("a", b"", expect=ABSENT, if_open=closed)
        assert refusal.value.reason == "dead"
        with pytest.raises(SessionClosedError):
            await store.write("a", b"", expect=ABSENT, if_open=random_id())
        written = await store.write("a", b"", expect=ABSENT, if_open=opened)
        assert written.session is None, "a guard binds nothing"
        await store.close_session(opened, reason=b"")
        assert await store.read("a") == written

    @promises("guarded_writes")
    async def test_if_gone_needs_a_tombstone(self, store: Store) -> None:
        first = await store.write("a", b"", expect=ABSENT)
        opened, closed = await open_one(store), await open_one(store)
        await store.close_session(closed, reason=b"dead")
        for session in (opened, random_id()):
            with pytest.raises(ConflictError) as refusal:
                await store.write("a", b"", expect=first.revision, if_gone=session)
            assert refusal.value.current == first
        assert (await store.write("a", b"", expect=first.revision, if_gone=closed)).revision > first.revision

    @promises("guarded_writes")
    async def test_if_empty_needs_that_nothing_stands_under_a_prefix(self, store: Store) -> None:
        first = await store.write("a", b"", expect=ABSENT)
        opened = await open_one(store)
        await store.write("line/one/x", b"", expect=ABSENT, session=opened)
        with pytest.raises(ConflictError) as refusal:
            await store.write("a", b"new", expect=first.revision, if_empty="line/one/")
        assert refusal.value.current == first == await store.read("a")
        with pytest.raises(ConflictError):
            await store.write("b", b"", expect=ABSENT, if_empty="line/one/")
        second = await store.write("a", b"", expect=first.revision, if_empty="line/on/")
        await store.close_session(opened, reason=b"dead")
        third = await store.write("a", b"", expect=second.revision, if_empty="line/one/", if_open=await open_one(store))
        await store.write("line/one/x", b"", expect=ABSENT)
        await store.delete("line/one/x", expect=ANY)
        assert (await store.write("a", b"", expect=third.revision, if_empty="line/one/")).revision > third.revision

    async def test_a_conflict_is_told_even_if_a_guard_holds_and_the_other_way_round(self, store: Store) -> None:
        await store.write("a", b"", expect=ABSENT)
        opened = await open_one(store)
        with pytest.raises(ConflictError):
            await store.write("a", b"", expect=ABSENT, if_open=opened)
        with pytest.raises(SessionClosedError):
            await store.write("b", b"", expect=ABSENT, if_open=random_id())
