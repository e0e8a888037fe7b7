"""What every store promises, sentence by sentence of `locum.store`; a driver's tests inherit `StoreContract`.

A driver's test class gives one thing: `connect`, a function that opens one more connection to the same data, in any
namespace, which the test closes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import nanoseconds
from locum.errors import ConfigurationError, ConflictError, SessionClosedError, StoreReplacedError
from locum.names import random_id
from locum.store import ABSENT, ANY, INCARNATION, MAX_VALUE, Record, Seen, SessionState
from tests.unit.kit import soon, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from locum.store import Change, Expect, Store

    Connect = Callable[..., Awaitable[Store]]

TTL = nanoseconds(60)

CHANGES = ("open_session", "beat", "close_session", "close_if_silent", "write", "delete", "lift_quarantine")
"""The calls that change something."""


async def open_one(store: Store, *, owner: bytes = b"me", ttl: int = TTL) -> str:
    """The id of a new session."""
    session = random_id()
    await store.open_session(owner, ttl, session)
    return session


async def seen_now(store: Store) -> Seen:
    """What a store has seen, as of now."""
    await store.read("a")
    assert store.seen is not None
    return store.seen


async def picture_of(store: Store) -> tuple[object, ...]:
    """All that can be read of a namespace."""
    return await store.sessions(), await store.list("")


async def call_of(store: Store, call: str, mine: str, theirs: str) -> None:
    """Make a call that would succeed; those of `CHANGES` would change something."""
    match call:
        case "read":
            await store.read("a")
        case "list":
            await store.list("")
        case "sessions":
            await store.sessions()
        case "health":
            await store.health()
        case "open_session":
            await store.open_session(b"me", TTL, random_id())
        case "beat":
            await store.beat(mine, 1)
        case "close_session":
            await store.close_session(mine, reason=b"")
        case "close_if_silent":
            await store.close_if_silent(theirs, beat=0, reason=b"")
        case "write":
            await store.write("a", b"new", expect=ANY)
        case "delete":
            await store.delete("a", expect=ANY)
        case "lift_quarantine":
            assert store.seen is not None
            await store.lift_quarantine(store.seen.incarnation)
        case _:
            raise AssertionError(call)


async def state_of(store: Store, session: str) -> SessionState:
    return (await store.sessions([session])).by_id[session].state


@asynccontextmanager
async def quiet(store: Store, prefixes: list[str]) -> AsyncIterator[AsyncIterator[Change]]:
    """Wake-ups from here on: those that are allowed for what was before have been taken."""
    async with store.changes(prefixes) as changes, store.changes(["sentinel"]) as sentinel:
        await _all_told(store, sentinel)
        await _poll(changes)
        yield changes


@asynccontextmanager
async def no_wake_up(store: Store, prefixes: list[str]) -> AsyncIterator[None]:
    """Fails if what happens in the block wakes a reader of these prefixes."""
    async with quiet(store, prefixes) as changes:
        yield
        async with store.changes(["sentinel"]) as sentinel:
            await _all_told(store, sentinel)
        assert await _poll(changes) is None, "somebody was woken for nothing"


async def _all_told(store: Store, sentinel: AsyncIterator[Any]) -> None:
    """Every change until now has woken whom it will: a later one has."""
    await store.write("sentinel", b"", expect=ANY)
    await soon(anext(sentinel))
    await turns()


async def heard(changes: AsyncIterator[Change]) -> Change:
    """A wake-up that comes by itself, and not because nothing came for long."""
    async with asyncio.timeout(4):
        return await anext(changes)


async def _poll(changes: AsyncIterator[Any]) -> Any:
    """A wake-up that is there already, or `None`."""
    try:
        async with asyncio.timeout(0.03):
            return await anext(changes)
    except TimeoutError:
        return None


class StoreContract:
    """The contract. The fixture `connect` is the driver's."""

    @pytest.fixture
    async def store(self, connect: Connect) -> Store:
        return await connect()

    # -- records: compare and set

    async def test_what_was_written_is_read(self, store: Store) -> None:
        written = await store.write("a", b"one", expect=ABSENT)
        assert await store.read("a") == written
        assert (written.key, written.value, written.session) == ("a", b"one", None)
        assert type(written.revision) is int

    async def test_what_was_never_written_is_nothing(self, store: Store) -> None:
        assert await store.read("a") is None

    async def test_absent_creates_once(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ABSENT)
        with pytest.raises(ConflictError) as refusal:
            await store.write("a", b"two", expect=ABSENT)
        assert refusal.value.current == first
        assert refusal.value.key == "a"
        assert await store.read("a") == first

    async def test_a_revision_writes_once(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ABSENT)
        second = await store.write("a", b"two", expect=first.revision)
        assert second.revision != first.revision
        with pytest.raises(ConflictError) as refusal:
            await store.write("a", b"three", expect=first.revision)
        assert refusal.value.current == second
        assert await store.read("a") == second

    async def test_a_revision_does_not_match_what_is_not_there(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ABSENT)
        await store.delete("a", expect=first.revision)
        with pytest.raises(ConflictError) as refusal:
            await store.write("a", b"two", expect=first.revision)
        assert refusal.value.current is None
        assert await store.read("a") is None

    async def test_a_revision_of_another_key_does_not_match(self, store: Store) -> None:
        await store.write("a", b"one", expect=ABSENT)
        other = await store.write("b", b"one", expect=ABSENT)
        with pytest.raises(ConflictError):
            await store.write("a", b"two", expect=other.revision)

    async def test_any_writes_whatever_stands_there(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ANY)
        second = await store.write("a", b"two", expect=ANY)
        assert await store.read("a") == second != first

    async def test_the_same_value_is_a_new_revision(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ANY)
        second = await store.write("a", b"one", expect=first.revision)
        assert second.revision > first.revision

    async def test_revisions_never_come_back_even_if_a_key_is_made_again(self, store: Store) -> None:
        seen = set()
        for turn in range(5):
            record = await store.write("a", b"same", expect=ABSENT)
            assert record.revision not in seen, f"turn {turn}"
            seen.add(record.revision)
            await store.delete("a", expect=record.revision)

    async def test_a_write_keeps_the_place_in_the_order_of_creation_and_a_new_one_does_not(self, store: Store) -> None:
        first = await store.write("a", b"", expect=ABSENT)
        again = await store.write("a", b"", expect=first.revision)
        assert again.created == first.created
        await store.delete("a", expect=ANY)
        assert (await store.write("a", b"", expect=ABSENT)).created > first.created

    async def test_of_many_writers_on_one_revision_one_wins(self, connect: Connect) -> None:
        stores = [await connect() for _ in range(4)]
        first = await stores[0].write("a", b"", expect=ABSENT)
        outcomes = await asyncio.gather(
            *(store.write("a", bytes([number]), expect=first.revision) for number, store in enumerate(stores * 3)),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
        assert (len(won), len(lost)) == (1, 11)
        assert {refusal.current for refusal in lost} == {won[0]}

    # -- records: compare and delete

    async def test_a_delete_needs_its_revision(self, store: Store) -> None:
        first = await store.write("a", b"one", expect=ABSENT)
        second = await store.write("a", b"two", expect=ANY)
        with pytest.raises(ConflictError) as refusal:
            await store.delete("a", expect=first.revision)
        assert refusal.value.current == second
        await store.delete("a", expect=second.revision)
        assert await store.read("a") is None

    async def test_a_delete_may_take_whatever_stands_there(self, store: Store) -> None:
        await store.write("a", b"one", expect=ABSENT)
        await store.delete("a", expect=ANY)
        assert await store.read("a") is None

    @pytest.mark.parametrize("expect", [ANY, 1])
    async def test_what_is_not_there_is_deleted_already(self, store: Store, expect: Expect) -> None:
        await store.delete("a", expect=expect)

    # -- records: values and names

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            bytes(range(256)),
            b"\x00" * 100,
            b"'; DROP TABLE locum_records; --",
            b"\xff\xfe\x80",
            "\U0001f480\u202e".encode(),
            b'{"a": 1}',
            b"%s %d :key ? $1",
            b"\r\n" * 50,
            b"x" * MAX_VALUE,
        ],
        ids=lambda value: repr(value[:12]),
    )
    async def test_a_value_comes_back_as_it_was(self, connect: Connect, value: bytes) -> None:
        written = await (await connect()).write("a", value, expect=ABSENT)
        found = await (await connect()).read("a")
        assert found == written
        assert found is not None
        assert found.value == value

    async def test_a_value_that_is_too_large_is_refused_and_nothing_changes(self, store: Store) -> None:
        with pytest.raises(ConfigurationError, match="65537"):
            await store.write("a", b"x" * (MAX_VALUE + 1), expect=ABSENT)
        assert await store.read("a") is None

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "-a",
            ".",
            "a b",
            "a'b",
            'a"b',
            "a;b",
            "a%b",
            "a*",
            "ä",
            "a\n",
            "a\x00",
            "x" * 129,
        ],
    )
    async def test_a_hostile_key_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(ConfigurationError):
            await store.write(key, b"", expect=ANY)
        assert (await store.list("")).records == []

    @pytest.mark.parametrize("key", ["a", "A", "0", "a/b/c", "a.b", "a:b", "a_b", "a-b", "x" * 128, "x" * 128 + "/y"])
    async def test_a_good_key_is_taken(self, store: Store, key: str) -> None:
        await store.write(key, b"", expect=ABSENT)
        assert [record.key for record in (await store.list("")).records] == [key]

    async def test_keys_that_differ_in_case_differ(self, store: Store) -> None:
        await store.write("a", b"small", expect=ABSENT)
        await store.write("A", b"large", expect=ABSENT)
        small = await store.read("a")
        assert small is not None
        assert small.value == b"small"

    # -- records: lists

    async def test_a_list_is_in_order_of_creation(self, store: Store) -> None:
        for key in ("p/c", "p/a", "p/b"):
            await store.write(key, b"", expect=ABSENT)
        await store.write("p/c", b"again", expect=ANY)
        await store.delete("p/a", expect=ANY)
        await store.write("p/a", b"", expect=ABSENT)
        assert [record.key for record in (await store.list("p/")).records] == ["p/c", "p/b", "p/a"]

    async def test_a_list_holds_whole_records(self, store: Store) -> None:
        session = await open_one(store)
        bound = await store.write("p/a", b"value", expect=ABSENT, session=session)
        assert (await store.list("p/")).records == [bound]

    async def test_a_prefix_is_exact(self, store: Store) -> None:
        for key in ("grant/a", "grant/ab", "grant/a/b", "grant/a_b", "grant/b", "Grant/a", "gran"):
            await store.write(key, b"", expect=ABSENT)

        async def keys(prefix: str) -> set[str]:
            return {record.key for record in (await store.list(prefix)).records}

        assert await keys("grant/a/") == {"grant/a/b"}
        assert await keys("grant/a") == {"grant/a", "grant/ab", "grant/a/b", "grant/a_b"}
        assert await keys("grant/a_") == {"grant/a_b"}
        assert await keys("grant/%") == set()
        assert await keys("grant/*") == set()
        assert await keys("nothing/") == set()
        assert len(await keys("")) == 7

    async def test_a_lists_revision_is_not_older_than_its_records(self, store: Store) -> None:
        await store.write("p/a", b"", expect=ABSENT)
        first = await store.list("p/")
        newer = await store.write("p/b", b"", expect=ABSENT)
        second = await store.list("p/")
        assert first.revision < newer.revision <= second.revision

    # -- sessions: opening

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

    # -- sessions: what is known of them

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

    # -- sessions: beats

    async def test_a_beat_is_seen_by_others(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(store)
        await store.beat(session, 2**62)
        assert (await other.sessions()).by_id[session].beat in (2**62, None)

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

    # -- sessions: closing

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

    async def test_of_a_beat_and_a_close_on_the_beat_before_one_wins(self, connect: Connect) -> None:
        store, observer = await connect(), await connect()
        for number in range(1, 9):
            session = await open_one(store)
            beat, closed = await asyncio.gather(
                store.beat(session, number),
                observer.close_if_silent(session, beat=0, reason=b"silent"),
                return_exceptions=True,
            )
            assert (beat is None) != (closed is True), (beat, closed)
            assert isinstance(beat, SessionClosedError | None)

    # -- writes that lean on sessions

    async def test_a_bound_write_needs_its_session_open(self, store: Store) -> None:
        closed = await open_one(store)
        await store.close_session(closed, reason=b"dead")
        for session in (closed, random_id()):
            with pytest.raises(SessionClosedError):
                await store.write("a", b"", expect=ANY, session=session)
        assert await store.read("a") is None

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

    async def test_if_gone_needs_a_tombstone(self, store: Store) -> None:
        first = await store.write("a", b"", expect=ABSENT)
        opened, closed = await open_one(store), await open_one(store)
        await store.close_session(closed, reason=b"dead")
        for session in (opened, random_id()):
            with pytest.raises(ConflictError) as refusal:
                await store.write("a", b"", expect=first.revision, if_gone=session)
            assert refusal.value.current == first
        assert (await store.write("a", b"", expect=first.revision, if_gone=closed)).revision > first.revision

    async def test_a_conflict_is_told_even_if_a_guard_holds_and_the_other_way_round(self, store: Store) -> None:
        await store.write("a", b"", expect=ABSENT)
        opened = await open_one(store)
        with pytest.raises(ConflictError):
            await store.write("a", b"", expect=ABSENT, if_open=opened)
        with pytest.raises(SessionClosedError):
            await store.write("b", b"", expect=ABSENT, if_open=random_id())

    # -- the incarnation: what was seen

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
        first = await asyncio.gather(*(store.adopt(max_ttl=TTL) for store in stores))
        again = await asyncio.gather(*(store.adopt(max_ttl=TTL) for store in stores))
        assert {one.incarnation for one in (*first, *again)} == {first[0].incarnation}
        assert (await stores[0].sessions()).quarantined

    async def test_an_adopted_store_goes_on_working(self, store: Store) -> None:
        seen = await seen_now(store)
        store.seen = replace(seen, revision=seen.revision + 1)
        async with store.changes(["p/"]) as changes:
            await store.adopt(max_ttl=TTL)
            await heard(changes)  # whoever waits looks again, at the store as it is now
            session = await open_one(store)
            await store.write("p/a", b"", expect=ABSENT, session=session)
            while not (await heard(changes)).keys:
                pass

    # -- the incarnation: an operator's, and its quarantine

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
            assert (await heard(changes)).keys <= {INCARNATION}

    async def test_sessions_open_and_records_change_in_quarantine(self, store: Store) -> None:
        await store.renew(max_ttl=TTL)
        session = await open_one(store)
        await store.write("a", b"", expect=ABSENT, session=session)
        await store.beat(session, 1)

    # -- namespaces

    async def test_namespaces_are_apart(self, connect: Connect) -> None:
        one, other = await connect(namespace="one"), await connect(namespace="other")
        record = await one.write("a", b"one", expect=ABSENT)
        session = await open_one(one)
        assert await other.read("a") is None
        assert (await other.list("")).records == []
        assert (await other.sessions()).by_id == {}
        assert (await other.sessions()).max_ttl == 0
        assert await state_of(other, session) is SessionState.UNKNOWN
        await other.close_session(session, reason=b"")
        assert not await other.close_if_silent(session, beat=0, reason=b"")
        await other.delete("a", expect=ANY)
        await other.write("a", b"other", expect=ABSENT)
        with pytest.raises(SessionClosedError):
            await other.write("b", b"", expect=ABSENT, session=session)
        assert await one.read("a") == record
        assert await state_of(one, session) is SessionState.OPEN

    async def test_a_session_id_is_one_namespaces_alone(self, connect: Connect) -> None:
        one, other = await connect(namespace="one"), await connect(namespace="other")
        session = await open_one(one)
        await one.close_session(session, reason=b"")
        await other.open_session(b"me", TTL, session)
        assert await state_of(other, session) is SessionState.OPEN

    async def test_a_change_elsewhere_wakes_nobody_here(self, connect: Connect) -> None:
        one, other = await connect(namespace="one"), await connect(namespace="other")
        async with no_wake_up(one, ["a"]):
            await other.write("a", b"", expect=ANY)

    # -- wake-ups

    @pytest.mark.parametrize("kind", ["create", "write", "delete", "bound"])
    async def test_every_kind_of_change_wakes(self, connect: Connect, kind: str) -> None:
        store, other = await connect(), await connect()
        session = await open_one(other)
        if kind != "create":
            await other.write("p/a", b"", expect=ABSENT, session=session if kind == "bound" else None)
        async with quiet(store, ["p/"]) as changes:
            if kind in ("create", "write"):
                await other.write("p/a", b"new", expect=ANY)
            elif kind == "delete":
                await other.delete("p/a", expect=ANY)
            else:
                await other.close_session(session, reason=b"")
            change = await heard(changes)
            assert change.keys <= {"p/a"}

    @pytest.mark.parametrize("kind", ["open", "close", "silent"])
    async def test_every_change_of_a_session_wakes(self, connect: Connect, kind: str) -> None:
        store, other = await connect(), await connect()
        session = random_id()
        if kind != "open":
            await other.open_session(b"me", TTL, session)
        async with quiet(store, ["session/"]) as changes:
            if kind == "open":
                await other.open_session(b"me", TTL, session)
            elif kind == "close":
                await other.close_session(session, reason=b"")
            else:
                await other.close_if_silent(session, beat=0, reason=b"")
            assert (await heard(changes)).keys <= {f"session/{session}"}

    async def test_there_is_one_after_every_change(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            for turn in range(20):
                written = await other.write("p/a", bytes([turn]), expect=ANY)
                while (found := await store.read("p/a")) is None or found.revision < written.revision:
                    await soon(anext(changes))
                await soon(anext(changes))

    async def test_a_beat_wakes_nobody(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(other)
        async with no_wake_up(store, ["session/"]):
            await other.beat(session, 1)

    async def test_other_keys_wake_nobody(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with no_wake_up(store, ["p/a/"]):
            await other.write("p/ab", b"", expect=ANY)
            await other.write("q", b"", expect=ANY)

    async def test_what_changes_nothing_wakes_nobody(self, store: Store) -> None:
        await store.write("p/a", b"", expect=ABSENT)
        session = await open_one(store)
        await store.close_session(session, reason=b"")
        async with no_wake_up(store, ["p/", "session/"]):
            with pytest.raises(ConflictError):
                await store.write("p/a", b"", expect=ABSENT)
            await store.delete("p/b", expect=ANY)
            await store.close_session(session, reason=b"again")

    async def test_a_cancelled_wait_loses_none(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            waiting = asyncio.ensure_future(anext(changes))
            await turns()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await other.write("p/a", b"", expect=ANY)
            await soon(anext(changes))

    async def test_a_change_before_the_wait_begins_is_not_lost(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            await other.write("p/a", b"", expect=ANY)
            await other.write("p/b", b"", expect=ANY)
            await soon(anext(changes))

    async def test_every_subscriber_of_a_connection_is_woken(self, store: Store) -> None:
        async with AsyncExitStack() as stack:
            waiting = [await stack.enter_async_context(store.changes([prefix])) for prefix in ("p", "p/", "p/a", "")]
            await store.write("p/a", b"", expect=ANY)
            for changes in waiting:
                await soon(anext(changes))

    async def test_several_prefixes_are_heard(self, store: Store) -> None:
        async with store.changes(["p/", "q/"]) as changes:
            await store.write("q/a", b"", expect=ANY)
            await soon(anext(changes))
            await store.write("p/a", b"", expect=ANY)
            await soon(anext(changes))

    # -- what it says of itself

    async def test_it_answers_when_asked_for_its_health(self, store: Store) -> None:
        health = await store.health()
        assert health.version
        assert health.round_trip >= 0

    async def test_closing_twice_is_harmless(self, connect: Connect) -> None:
        store = await connect()
        await store.close()
        await store.close()
