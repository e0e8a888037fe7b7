"""Locks over a real store: turns, values, what is entered again, and what is left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.collecting import Collector
from locum.coordination.contest import Wishes
from locum.coordination.grant import MOST_VALUE, Grant, Holder, grant_key
from locum.coordination.line import line_prefix
from locum.coordination.lock import Held, Lock
from locum.errors import ConfigurationError, StaleTermError, TermEndedError, WaitTimeoutError
from locum.floor import Floor
from locum.journal import Journal
from locum.names import random_id
from locum.scopes import Scope, cancel_and_wait, happens
from locum.store import ABSENT, ANY
from locum.testing.faults import Held as HeldCall
from locum.testing.faults import answer_lost, refused, request_lost
from tests.unit.kit import LONG, ShiftedClock, instance, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

SCOPE = "lock/invoice-42"
GRANT = grant_key(SCOPE)
LINE = line_prefix(SCOPE)
LOST = [request_lost, answer_lost, refused]


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-1") as made:
        yield made


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-2") as made:
        yield made


def lock_of(one: Instance, **wishes: Any) -> Lock:
    return Lock(one.commons, "invoice-42", Wishes(**wishes))


async def grant_in(one: Instance) -> Grant:
    return Grant.of(await one.store.read(GRANT))


async def in_line(one: Instance, count: int) -> None:
    async def stands() -> None:
        async with one.store.changes([LINE]) as changes:
            while len((await one.store.list(LINE)).records) != count:
                await anext(changes)

    assert await happens(stands(), within=LONG), f"there are never {count} in line"


async def test_a_lock_is_held_for_the_length_of_the_block_and_is_a_term(one: Instance) -> None:
    async with lock_of(one) as held:
        assert (held.token, held.instance, held.name, held.scope) == (1, "web-1", "invoice-42", SCOPE)
        held.check()
        assert (await grant_in(one)).holder is not None
        assert one.leases.armed
    assert (await grant_in(one)).holder is None
    assert not one.leases.armed
    with pytest.raises(TermEndedError):
        held.check()


async def test_a_task_enters_again_what_it_holds_if_that_was_wished_for(one: Instance) -> None:
    async with lock_of(one, reentrant=True) as outer:
        async with lock_of(one, reentrant=True) as inner:
            assert inner is outer
        outer.check()  # only the outermost block gives it up
        async with lock_of(one, reentrant=True).try_hold() as again:
            assert again is outer

        async def another() -> bool:
            async with lock_of(one, reentrant=True).try_hold() as theirs:
                return theirs is None

        async with Scope("another") as scope:
            is_kept_out = await soon(scope.spawn(another(), name="task"))
    assert is_kept_out, "another task of this process enters"
    async with lock_of(one, reentrant=True) as later:
        assert (later.token, outer.ended) == (2, "resigned")


async def test_what_is_not_reentrant_is_not_entered_again(one: Instance) -> None:
    async with lock_of(one), lock_of(one).try_hold() as again:
        assert again is None


async def test_asking_once_takes_what_is_free_and_leaves_nothing_behind_where_it_is_not(
    one: Instance, other: Instance
) -> None:
    async with lock_of(one).try_hold() as held:
        assert held is not None
        with pytest.raises(WaitTimeoutError, match=r"lock/invoice-42 was not ours within 0 s"):
            await lock_of(other).win(timeout=0)
        await in_line(other, 1)
    term = await soon(one.election("settlement").win(timeout=0))
    assert term.token == 1, "an election too is asked once"


async def test_asking_once_does_not_go_before_those_who_wait(one: Instance, other: Instance) -> None:
    held = await lock_of(one).win()
    async with Scope("waiting") as scope:
        waiting = scope.spawn(lock_of(other).win(), name="other")
        await in_line(one, 2)
        other.store.hold_wake_ups()
        await held_by(one, held)
        async with lock_of(one).try_hold() as barging:
            assert barging is None
        other.store.let_wake_ups_go()
        await soon(waiting)


async def held_by(one: Instance, held: Held) -> None:
    await held._lock.resign(held, "resigned")


# -- the value


async def test_the_value_outlives_the_holder_and_its_death(one: Instance, other: Instance) -> None:
    async with lock_of(one) as held:
        assert await lock_of(other).value() is None
        await held.set(b"1")
        await held.set(b"2")
        assert held.value == b"2"
    held = await lock_of(other).win()
    assert held.value == b"2"
    await held.set(b"3")
    await other.leases.die("was killed")
    async with lock_of(one) as heir:
        assert (heir.value, heir.token) == (b"3", 3)
        assert await lock_of(one).value() == b"3"
        await heir.set(None)
    assert await lock_of(one).value() is None


async def test_a_value_is_refused_under_an_old_token(one: Instance, other: Instance) -> None:
    held = await lock_of(one).win()
    session = (await one.leases.lease()).session
    await other.store.close_session(session, reason=b"was given up")  # and this process does not know
    async with lock_of(other) as heir:
        await heir.set(b"new")
        with pytest.raises((TermEndedError, StaleTermError)):
            await held.set(b"old")
        assert heir.value == await lock_of(other).value() == b"new"
    with pytest.raises(TermEndedError):
        held.check()


async def test_f61_the_token_of_one_that_lost_it_refuses_without_any_guard(one: Instance, other: Instance) -> None:
    """The revision alone decides: on a store that guards no write, too."""
    held = await lock_of(one).win()
    grant = await grant_in(one)
    heir = Holder(random_id(), random_id(), "web-2", "")
    await other.store.write(GRANT, grant.taken_by(heir, floor=0).to_bytes(), expect=grant.revision)
    refused = None
    try:
        await held.set(b"old")
    except StaleTermError as error:
        refused = error
    assert (await grant_in(one)).value is None, "an old token has written"
    assert refused is not None
    assert refused.highest == 2
    assert held.ended == "lost it: it was taken over under token 2"


@pytest.mark.parametrize("fault", LOST)
async def test_a_value_without_an_answer_is_settled(one: Instance, fault: Any) -> None:
    async with lock_of(one) as held:
        one.store.plan("write", fault, key="grant/")
        await held.set(b"kept")
        assert held.value == b"kept"
        await held.set(b"and again")
    assert (await grant_in(one)).value == b"and again"
    assert (await grant_in(one)).holder is None


async def test_a_release_waits_for_a_value_that_is_on_its_way(one: Instance) -> None:
    held = await lock_of(one).win()
    call = HeldCall(answer=True)
    one.store.plan("write", call, key="grant/")
    async with Scope("setting") as scope:
        setting = scope.spawn(held.set(b"kept"), name="set")
        await call.reached.wait()
        await cancel_and_wait(setting)
        releasing = scope.spawn(held_by(one, held), name="release")
        await turns()
        assert not releasing.done()
        call.let_go()
        await soon(releasing)
    grant = await grant_in(one)
    assert (grant.holder, grant.value) == (None, b"kept")


async def test_a_value_has_its_bound(one: Instance) -> None:
    async with lock_of(one) as held:
        await held.set(b"x" * MOST_VALUE)
        with pytest.raises(ConfigurationError, match="has room for 32768"):
            await held.set(b"x" * (MOST_VALUE + 1))
        assert held.is_current


# -- loss


async def test_a_block_whose_lock_is_lost_is_cancelled_and_told_once(one: Instance) -> None:
    told: list[str] = []

    async def work() -> None:
        async with lock_of(one, on_lost=told.append):
            await one.leases.die("was killed")
            await asyncio.sleep(LONG)

    with pytest.raises(TermEndedError, match="was killed"):
        await work()
    assert told == ["was killed"]


async def test_a_block_that_swallows_its_cancellation_is_told_and_its_task_is_not_cancelled_any_more(
    one: Instance,
) -> None:
    async def swallow() -> None:
        async with lock_of(one):
            one.leases.lose("was killed")
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                pass

    with pytest.raises(TermEndedError):
        await swallow()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_block_that_fails_while_it_is_cancelled_leaves_no_cancellation_behind(one: Instance) -> None:
    async def fail() -> None:
        async with lock_of(one):
            one.leases.lose("was killed")
            try:
                await asyncio.sleep(LONG)
            finally:
                raise ValueError("while clearing up")

    with pytest.raises(ValueError, match="while clearing up"):
        await fail()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_reason_of_any_length_is_released(one: Instance) -> None:
    async def fail() -> None:
        async with lock_of(one):
            raise ValueError("x" * 100_000)

    with pytest.raises(ValueError, match="xxx"):
        await fail()
    assert (await grant_in(one)).holder is None


# -- the lock-delay


async def test_a_lock_delay_keeps_others_off_after_a_death_and_not_after_a_release(tmp_path: Path) -> None:
    clock = ShiftedClock()
    path = tmp_path / "store.db"
    async with instance(path, "web-1") as one, instance(path, "web-2", ttl=3600.0, clock=clock) as other:
        async with Lock(one.commons, "invoice-42", lock_delay=100.0):
            pass
        async with lock_of(other):
            pass
        await Lock(one.commons, "invoice-42", lock_delay=100.0).win()
        await one.leases.die("was killed")
        async with Scope("waiting") as scope:
            reads, looks = other.store.answered("read"), other.store.answered("sessions")
            waiting = scope.spawn(lock_of(other).win(), name="other")
            # the last things that a look asks for: the session and, beside it, the floor; the grant is read before
            await until(
                lambda: other.store.answered("sessions") > looks and other.store.answered("read") > reads + 1, "a look"
            )
            await turns()
            assert not waiting.done()
            clock.shift(101.0)
            (place,) = (await other.store.list(LINE)).records
            await other.store.write(place.key, place.value, expect=ANY, session=place.session)  # that wakes it
            held = await soon(waiting)
            assert held.token == 4


# -- what is left behind


async def test_a_record_that_is_no_place_holds_up_nobody(one: Instance) -> None:
    await one.store.write(LINE + random_id(), b"\xff", expect=ABSENT)
    async with lock_of(one) as held:
        assert held.token == 1


async def test_f64_names_that_were_used_once_leave_nothing_behind_and_no_token_repeats(one: Instance) -> None:
    collector, tokens = Collector(one.commons), []
    for number in range(20):
        async with Lock(one.commons, f"name-{number}") as held:
            tokens.append(held.token)
    await collector.collect(idle_for=0.0)
    assert (await one.store.list("grant/")).records == []
    assert (await one.store.list("line/")).records == []
    assert (await one.store.list("journal/")).records == []
    assert (await Floor.read(one.store)).token == max(tokens)
    async with Lock(one.commons, "name-0") as held:
        assert held.token > max(tokens)


async def test_the_floor_is_raised_before_a_grant_is_collected(one: Instance) -> None:
    async with lock_of(one):
        pass
    one.store.always("write", refused, key="floor")
    await Collector(one.commons).collect(idle_for=0.0)
    assert (await grant_in(one)).token == 1, "what cannot be remembered is not deleted"
    one.store.always("write", None, key="floor")
    await Collector(one.commons).collect(idle_for=0.0)
    assert await one.store.read(GRANT) is None
    assert (await Floor.read(one.store)).token == 1


async def test_many_are_collected_at_once(one: Instance) -> None:
    for number in range(5):
        async with Lock(one.commons, f"name-{number}"):
            pass
    slow = HeldCall(answer=False)
    one.store.plan("delete", slow, key="grant/lock/name-0")
    async with Scope("collector") as scope:
        collecting = scope.spawn(Collector(one.commons).collect(idle_for=0.0), name="collect")
        await soon(slow.reached.wait())
        async with one.store.changes(["grant/"]) as changes:
            while len((await soon(one.store.list("grant/"))).records) > 1:
                await soon(anext(changes))
        slow.let_go()
        await soon(collecting)
    assert (await one.store.list("grant/")).records == []
    assert one.commons.idle == {}


async def test_what_is_used_again_or_has_a_value_is_not_collected(one: Instance, other: Instance) -> None:
    async with lock_of(one):
        pass
    async with lock_of(other) as held:
        await Collector(one.commons).collect(idle_for=0.0)
        held.check()
        assert (await grant_in(one)).token == held.token
        await held.set(b"kept")
    await Collector(other.commons).collect(idle_for=0.0)
    assert (await grant_in(one)).value == b"kept"


async def test_what_others_left_is_collected_when_it_was_seen_twice(one: Instance, other: Instance) -> None:
    await lock_of(other).win()
    await other.leases.die("was killed")
    collector = Collector(one.commons)

    async def look() -> None:
        await collector.look((await one.store.list("grant/")).records, (await one.store.list("line/")).records)

    await look()
    assert (await grant_in(one)).holder is not None
    await look()
    assert await one.store.read(GRANT) is None
    assert (await Floor.read(one.store)).token == 1


async def test_a_living_holder_is_never_collected(one: Instance, other: Instance) -> None:
    async with lock_of(other) as held:
        collector = Collector(one.commons)
        for _ in range(3):
            await collector.look((await one.store.list("grant/")).records, [])
        held.check()
        assert (await grant_in(one)).holder is not None


async def test_only_ends_that_were_no_releases_are_noted_and_all_in_one_ring(one: Instance, other: Instance) -> None:
    async with lock_of(one):
        pass
    await lock_of(other).win()
    await other.leases.die("was killed")
    async with lock_of(one):
        pass
    await one.commons.close(patience=LONG)
    (entry,) = await Journal(one.store).entries(SCOPE)
    assert (entry.instance, entry.token) == ("web-2", 2)
    assert [record.key for record in (await one.store.list("journal/")).records] == ["journal/lock/2"]
