"""What the Redis store adds to the contract: exact numbers, tombstones, servers that forget, and its keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from locum.clock import NANOSECONDS, Clock, nanoseconds
from locum.errors import ConfigurationError, ConflictError, SchemaError, StoreReplacedError, StoreUnavailableError
from locum.identity import MachineKey
from locum.names import random_id
from locum.store import ABSENT, ANY, INCARNATION, MAX_VALUE, SessionState
from locum.stores.sight import LEAP
from tests.unit.stores.redis.kit import made, opened

if TYPE_CHECKING:
    from locum.store import Record
    from locum.stores.redis import RedisStore
    from tests.servers.redis import Redis

TTL = nanoseconds(6)
DAY = 24 * 3600 * NANOSECONDS


class Set(Clock):
    """A clock that is where it is set to."""

    def __init__(self) -> None:
        self.at = 10 * DAY

    def now(self) -> int:
        return self.at


# -- the URL


def test_a_url_names_a_server_and_a_database() -> None:
    assert made("redis://h").url == "redis://h:6379"
    assert made("rediss://u:s3cret@h:1/3").url == "rediss://u@h:1/3"
    for wrong in ("redis://a,b", "redis://h/x", "redis://h/0/1", "redis://h?prefix={a}"):
        with pytest.raises(ConfigurationError):
            made(wrong)


async def test_databases_and_prefixes_are_stores_of_their_own(server: Redis, url: str) -> None:
    async with opened(url) as one, opened(f"{url}/1") as two, opened(f"{url}?prefix=other") as three:
        await one.write("a", b"one", expect=ABSENT)
        await two.write("a", b"two", expect=ABSENT)
        assert await three.read("a") is None
        assert len({one.seen, two.seen, three.seen}) == 3


async def test_all_keys_are_under_one_hash_tag_and_none_expires(server: Redis, url: str) -> None:
    async with opened(url) as store:
        session, other = random_id(), random_id()
        for one in (session, other):
            await store.open_session(b"me", TTL, one)
        await store.write("a/b", b"", expect=ABSENT, session=session)
        await store.close_session(other, reason=b"was stopped")
        script = (
            "for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('TTL', k) ~= -1 or k:sub(1, 7) ~= '{locum}'"
        )
        assert server.demand("EVAL", f"{script} then return 1 end end return 0", "0") == ":0"


# -- numbers


async def test_numbers_above_what_a_double_can_hold_are_exact(server: Redis, url: str) -> None:
    """Lua's numbers are doubles: 2**53 + 1 is none."""
    async with opened(url) as store:
        high = 2**62 + 1
        server.demand("HSET", "{locum}:store", "revision", str(high))
        first = await store.write("a", b"", expect=ABSENT)
        second = await store.write("b", b"", expect=ABSENT)
        assert (first.revision, second.revision, second.created) == (high + 1, high + 2, high + 2)
        with pytest.raises(ConflictError):
            await store.write("a", b"", expect=first.revision + 1)
        assert [one.key for one in (await store.list("")).records] == ["a", "b"]
        session = random_id()
        await store.open_session(b"me", high, session)
        assert (await store.sessions([session])).max_ttl == high
        for number in (high, high + 1, high + 2):
            await store.beat(session, number)
        with pytest.raises(ConflictError, match="twin"):
            await store.beat(session, high + 2)
        assert not await store.close_if_silent(session, beat=high + 1, reason=b"")
        assert await store.close_if_silent(session, beat=high + 2, reason=b"")
        assert (await store.renew(max_ttl=TTL)).revision == (high // LEAP + 1) * LEAP + 1


async def test_beats_of_different_lengths_are_numbers_and_not_words(url: str) -> None:
    async with opened(url) as store:
        session = random_id()
        await store.open_session(b"me", TTL, session)
        for number in (9, 10, 99, 100):
            await store.beat(session, number)
        with pytest.raises(ConflictError):
            await store.beat(session, 99)


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n $-1 *3 {}" * 50, bytes(MAX_VALUE), b"x" * MAX_VALUE])
async def test_a_value_is_kept_byte_by_byte(url: str, value: bytes) -> None:
    async with opened(url) as store:
        await store.write("a", value, expect=ABSENT)
        found = await store.read("a")
        assert found is not None
        assert found.value == value
        session = random_id()
        await store.open_session(value, TTL, session)
        await store.close_session(session, reason=value)
        status = (await store.sessions([session])).by_id[session]
        assert (status.owner, status.reason) == (value, value)


@pytest.mark.parametrize("key", ["x" * 128, "a:b._-", "/".join(["x" * 128] * 8), "records", "keys/open", "EVAL"])
async def test_names_are_names_whatever_they_say(url: str, key: str) -> None:
    async with opened(url, namespace="open.records:keys") as store, opened(url, namespace="open") as other:
        record = await store.write(key, b"mine", expect=ABSENT)
        assert await store.read(key) == record
        assert (await other.list("")).records == []
        for hostile in (f"{key} x", f"{key}\r\n", f"{key}'", f"{key}{{", f"{key}/"):
            with pytest.raises(ConfigurationError):
                await store.write(hostile, b"", expect=ANY)


async def test_a_long_list_is_whole_and_in_order(url: str) -> None:
    async with opened(url) as store:
        for number in range(2500, 0, -1):
            await store.write(f"p/{number}", b"", expect=ABSENT)
        await store.write("q", b"", expect=ABSENT)
        assert [one.key for one in (await store.list("p/")).records] == [f"p/{number}" for number in range(2500, 0, -1)]


# -- tombstones


async def test_a_tombstone_is_forgotten_after_a_day_and_not_before(url: str) -> None:
    clock = Set()
    async with opened(url, clock=clock) as store:
        session = random_id()
        await store.open_session(b"other", TTL, random_id())  # a generation has begun, and is almost a day old
        clock.at += round(0.99 * DAY)
        await store.open_session(b"me", TTL, session)
        await store.close_session(session, reason=b"was stopped")
        for days in (0.02, 0.5, 0.45):
            clock.at += round(days * DAY)
            await store.open_session(b"other", TTL, random_id())
            assert (await store.sessions([session])).by_id[session].is_closed, "before a day is over"
        for _ in range(2):
            clock.at += DAY + 2 * NANOSECONDS
            await store.open_session(b"other", TTL, random_id())
        assert (await store.sessions([session])).by_id[session].state is SessionState.UNKNOWN


async def test_a_tombstone_that_a_record_names_is_kept_until_it_no_longer_does(url: str) -> None:
    clock = Set()
    async with opened(url, clock=clock) as store, opened(url, namespace="other", clock=clock) as other:
        named, bare = random_id(), random_id()
        for one in (named, bare):
            await store.open_session(b"me", TTL, one)
            await store.close_session(one, reason=b"was stopped")
        await store.write("grant", f'{{"holder":"f{named}0"}}'.encode(), expect=ABSENT)
        await other.write("grant", bare.encode(), expect=ABSENT)
        for turn in range(8):
            clock.at += DAY + 2 * NANOSECONDS
            await store.open_session(b"other", TTL, random_id())
            states = (await store.sessions([named, bare])).by_id
            if turn == 3:
                assert states[named].is_closed
                assert states[bare].state is SessionState.UNKNOWN, "another namespace's records name nobody here"
                await store.delete("grant", expect=ANY)
        assert (await store.sessions([named])).by_id[named].state is SessionState.UNKNOWN


async def test_the_age_of_a_tombstone_is_not_told_from_clocks_of_different_boots(url: str) -> None:
    """They may be days apart: nobody takes another's reading for its own (R29)."""
    async with opened(url) as store:
        session = random_id()
        await store.open_session(b"me", TTL, session)
        await store.close_session(session, reason=b"was stopped")
        for boot in range(4):
            clock = Set()
            clock.at += boot * 100 * DAY
            async with opened(url, clock=clock) as other:
                other._key = MachineKey(f"boot {boot}", "pid", "time")
                await other.open_session(b"other", TTL, random_id())
            assert (await store.sessions([session])).by_id[session].is_closed


# -- a server that forgets


async def test_a_server_that_may_lose_something_is_believed_as_long_as_it_runs(server: Redis, url: str) -> None:
    server.demand("CONFIG", "SET", "appendfsync", "everysec")
    server.settings["appendfsync"] = "everysec"
    try:
        async with opened(url) as store, opened(url) as other:
            assert not store.guarantees().durable
            assert "fenced effects only: appendfsync is everysec" in (await store.health()).version
            before = await store.write("a", b"", expect=ABSENT)
            await other.read("a")
            server.stop()  # in good order: nothing is lost, but who can know?
            server.start()
            for one in (store, other):
                assert "started anew or exchanged, and may have lost" in await _objection(one)
            now = await store.adopt(max_ttl=TTL)
            assert now.revision > before.revision
            assert (await store.sessions()).quarantined
            assert await other.adopt(max_ttl=TTL) == now, "one decides"
            assert await store.lift_quarantine(now.incarnation)
            assert await other.read("a") is not None
    finally:
        server.settings["appendfsync"] = "always"


async def _objection(store: RedisStore) -> str:
    """Why a store is another than the one that was seen; empty if it is that one."""
    try:
        await _answer(store)
    except StoreReplacedError as error:
        return str(error)
    return ""


async def _answer(store: RedisStore) -> Record | None:
    """What a read says, once its connection is no longer the old server's."""
    while True:
        try:
            return await store.read("a")
        except StoreUnavailableError:
            pass


async def test_a_server_that_keeps_everything_may_be_started_anew(server: Redis, url: str) -> None:
    async with opened(url) as store:
        assert store.guarantees().durable
        session = random_id()
        await store.open_session(b"me", TTL, session)
        server.restart()
        assert await _answer(store) is None
        await store.beat(session, 1)
        assert (await store.health()).version == f"Redis {server.info('redis_version')[0]}"


async def test_a_newer_schema_is_refused(server: Redis, url: str) -> None:
    async with opened(url):
        pass
    server.demand("HSET", "{locum}:store", "least_reader", "2")
    with pytest.raises(SchemaError, match="needs a reader of schema 2, this release reads up to 1"):
        async with opened(url):
            pass


# -- wake-ups


async def test_whoever_waits_is_woken_again_after_its_connection_was_killed(server: Redis, url: str) -> None:
    async with opened(url) as store, opened(url) as other, store.changes(["a", INCARNATION]) as changes:
        for turn in range(5):
            server.demand("CLIENT", "KILL", "TYPE", "pubsub")
            async with asyncio.timeout(0.8 * store.guarantees().poll_interval):
                await anext(changes)  # when it listens again, everyone looks
            await other.write("a", bytes([turn]), expect=ANY)
            while not (await anext(changes)).keys:
                pass
