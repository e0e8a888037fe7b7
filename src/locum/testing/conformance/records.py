"""Records: one compare-and-set, whatever else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.errors import ConfigurationError, ConflictError, SessionClosedError
from locum.names import random_id
from locum.store import ABSENT, ANY, MAX_VALUE, Record, SessionState
from locum.testing.conformance.contract import Contract
from locum.testing.conformance.kit import (
    TTL,
    no_wake_up,
    open_one,
    state_of,
    together,
)

if TYPE_CHECKING:
    from locum.store import Expect, Store
    from locum.testing.conformance.contract import Connect

__all__ = ["StoreContract"]


class StoreContract(Contract):
    """What is promised of records, namespaces, and the connection itself."""

    # -- compare and set

    async def test_what_was_written_is_read(self, store: Store) -> None:
        written = await store.write("a", b"one", expect=ABSENT)
        assert await store.read("a") == written
        assert (written.key, written.value, written.session) == ("a", b"one", None)
        assert type(written.revision) is int

    async def test_what_was_never_written_is_nothing(self, store: Store) -> None:
        assert await store.read("a") is None

    async def test_what_one_has_written_another_reads_at_once(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        for number in range(10):
            for writer, reader in ((store, other), (other, store)):
                written = await writer.write("a", bytes([number]), expect=ANY)
                assert await reader.read("a") == written, "never a stale copy"
                assert (await reader.list("a")).records == [written]

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

    async def test_a_revision_from_before_a_deletion_never_matches_what_was_made_again(self, store: Store) -> None:
        for turn in range(3):
            first = await store.write("a", b"same", expect=ABSENT)
            await store.delete("a", expect=first.revision)
            again = await store.write("a", b"same", expect=ABSENT)
            with pytest.raises(ConflictError) as refusal:
                await store.write("a", b"late", expect=first.revision)
            assert refusal.value.current == again, f"turn {turn}"
            with pytest.raises(ConflictError):
                await store.delete("a", expect=first.revision)
            await store.delete("a", expect=again.revision)

    async def test_a_write_keeps_the_place_in_the_order_of_creation_and_a_new_one_does_not(self, store: Store) -> None:
        first = await store.write("a", b"", expect=ABSENT)
        again = await store.write("a", b"", expect=first.revision)
        assert again.created == first.created
        await store.delete("a", expect=ANY)
        assert (await store.write("a", b"", expect=ABSENT)).created > first.created

    async def test_of_many_writers_on_one_revision_one_wins(self, connect: Connect) -> None:
        stores = [await connect() for _ in range(4)]
        first = await stores[0].write("a", b"", expect=ABSENT)
        outcomes = await together(
            *(store.write("a", bytes([number]), expect=first.revision) for number, store in enumerate(stores * 3)),
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
        assert (len(won), len(lost)) == (1, 11)
        assert {refusal.current for refusal in lost} == {won[0]}

    # -- compare and delete

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

    # -- values and names

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

    # -- what goes with a write

    async def test_what_is_dropped_goes_with_the_write_in_one_step(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        for turn in range(5):
            session = await open_one(store)
            await store.write("p/a", b"", expect=ABSENT, session=session if turn % 2 else None)
            before = await store.list("p/")
            written = await store.write("p/b", bytes([turn]), expect=ANY, drop="p/a")
            assert (await other.list("p/")).records == [written]
            assert written.revision > before.revision
            await store.close_session(session, reason=b"")
            assert (await store.list("p/")).records == [written]
            await store.write("p/b", b"", expect=written.revision, drop="p/never")

    async def test_a_write_that_is_refused_drops_nothing(self, store: Store) -> None:
        other = await store.write("p/a", b"", expect=ABSENT)
        first = await store.write("p/b", b"", expect=ABSENT)
        with pytest.raises(ConflictError):
            await store.write("p/b", b"", expect=ABSENT, drop="p/a")
        with pytest.raises(ConflictError):
            await store.write("p/b", b"", expect=other.revision, drop="p/a")
        with pytest.raises(SessionClosedError):
            await store.write("p/b", b"", expect=first.revision, session=random_id(), drop="p/a")
        assert (await store.list("p/")).records == [other, first]

    async def test_what_was_dropped_can_be_made_again_and_is_another(self, store: Store) -> None:
        first = await store.write("p/a", b"", expect=ABSENT)
        await store.write("p/b", b"", expect=ABSENT, drop="p/a")
        again = await store.write("p/a", b"", expect=ABSENT)
        assert again.revision > first.revision
        assert again.created > first.created
        with pytest.raises(ConflictError):
            await store.delete("p/a", expect=first.revision)

    # -- lists

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

    async def test_a_list_counts_all_and_names_the_incarnation(self, store: Store) -> None:
        assert (await store.list("p/")).count == 0
        for key in ("p/a", "p/b", "q"):
            await store.write(key, b"", expect=ABSENT)
        whole = await store.list("p/")
        assert (len(whole.records), whole.count) == (2, 2)
        assert store.seen is not None
        assert whole.incarnation == store.seen.incarnation
        assert (await store.list("p/", after=whole.revision)).count == 2

    async def test_a_list_after_a_revision_has_what_was_written_since_and_what_is_named(self, store: Store) -> None:
        session = await open_one(store)
        for key in ("p/a", "p/b", "p/c", "q/a"):
            await store.write(key, b"", expect=ABSENT, session=session if key == "p/a" else None)
        before = await store.list("p/")
        nothing = await store.list("p/", after=before.revision)
        assert (nothing.records, nothing.count) == ([], 3)
        changed = await store.write("p/b", b"new", expect=ANY)
        made = await store.write("p/d", b"", expect=ABSENT)
        await store.write("q/a", b"new", expect=ANY)
        await store.write("p/c", b"", expect=ANY, drop="p/a")
        since = await store.list("p/", after=made.revision - 1, named=["p/a", "p/b", "q/a"])
        assert [record.key for record in since.records] == ["p/b", "p/c", "p/d"]
        assert changed in since.records
        assert since.count == 3
        whole = await store.list("p/")
        assert (await store.list("p/", after=0)).records == whole.records
        assert since.revision == whole.revision

    async def test_what_has_died_with_its_session_is_not_counted(self, store: Store) -> None:
        session = await open_one(store)
        await store.write("p/a", b"", expect=ABSENT, session=session)
        await store.write("p/b", b"", expect=ABSENT)
        before = await store.list("p/")
        await store.close_session(session, reason=b"")
        now = await store.list("p/", after=before.revision, named=["p/a"])
        assert (now.records, now.count) == ([], 1)

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

    # -- what it says of itself

    async def test_it_answers_when_asked_for_its_health(self, store: Store) -> None:
        health = await store.health()
        assert health.version
        assert health.round_trip >= 0

    async def test_closing_twice_is_harmless(self, connect: Connect) -> None:
        store = await connect()
        await store.close()
        await store.close()
