"""Locks on a driver's store, held alone and together, and barriers: nobody too many, under tokens that only grow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.barrier import Barrier
from locum.coordination.collecting import Collector
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import line_prefix
from locum.coordination.lock import Lock
from locum.coordination.shared import ReadWriteLock, Semaphore
from locum.errors import SessionLostError, StaleTermError, TermEndedError, WaitTimeoutError
from locum.floor import Floor
from locum.scopes import Scope, cancel_and_wait
from locum.testing.conformance.crews import RecipeContract
from locum.testing.conformance.kit import LONG, soon, turns
from locum.testing.faults import answer_lost, request_lost

if TYPE_CHECKING:
    from locum.coordination.contest import Contest
    from locum.store import Store
    from locum.testing.conformance.crews import Join
    from locum.testing.faults import Fault
    from locum.testing.instances import Instance

__all__ = ["LockContract", "SharedContract"]


def lock_of(one: Instance, name: str = "invoice") -> Lock:
    """The instance's lock."""
    return Lock(one.commons, name)


async def waiting_in(store: Store, scope: str, count: int) -> None:
    """Wait until so many stand in a line."""
    prefix = line_prefix(scope)
    try:
        async with asyncio.timeout(LONG), store.changes([prefix]) as changes:
            while len((await store.list(prefix)).records) != count:
                await anext(changes)
    except TimeoutError:
        raise AssertionError(f"there are never {count} in the line of {scope}") from None


class Crowd:
    """Counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    async def pass_through(self, contest: Contest[Any]) -> None:
        """Hold it for a moment."""
        async with contest:
            self.inside += 1
            self.most = max(self.most, self.inside)
            await turns()
            self.inside -= 1


class LockContract(RecipeContract):
    """What is promised of locks (R12 to R23)."""

    async def test_one_holds_at_a_time_and_tokens_only_grow(self, join: Join) -> None:
        crew, tokens, inside = [await join(f"web-{number}") for number in range(3)], [], 0

        async def work(one: Instance) -> None:
            nonlocal inside
            for _ in range(2):
                async with lock_of(one) as held:
                    inside += 1
                    assert inside == 1, "two hold it at once"
                    tokens.append(held.token)
                    await turns()
                    inside -= 1

        async with Scope("crew") as scope:
            for task in [scope.spawn(work(one), name=one.leases.owner.name) for one in crew]:
                await soon(task)
        assert len(tokens) == 6
        assert tokens == sorted(set(tokens))

    async def test_turns_come_in_the_order_of_coming(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        order: list[int] = []

        async def work(number: int) -> None:
            async with lock_of(other if number % 2 else one):
                order.append(number)

        async with Scope("line") as scope:
            async with lock_of(one):
                tasks = []
                for number in range(4):
                    tasks.append(scope.spawn(work(number), name=str(number)))
                    await waiting_in(one.store, "lock/invoice", number + 2)
            for task in tasks:
                await soon(task)
        assert order == [0, 1, 2, 3]

    async def test_one_that_had_it_to_itself_passes_nobody_who_waits(self, join: Join) -> None:
        one, other = await join("one"), await join("other")

        async def once() -> int:
            async with lock_of(other) as held:
                return held.token

        for _ in range(2):
            async with lock_of(one):
                pass
        async with Scope("line") as scope:
            async with lock_of(one):
                # where the store can guard that, the holder took it without a place in line
                places = 1 if one.store.guarantees().guarded_writes else 2
                turn = scope.spawn(once(), name="other")
                await waiting_in(one.store, "lock/invoice", places)
            async with lock_of(one) as again:
                assert again.token == 5
            assert await soon(turn) == 4

    async def test_f68_two_tasks_of_one_process_exclude_each_other(self, join: Join) -> None:
        one, crowd = await join("one"), Crowd()
        lock = lock_of(one)
        async with Scope("tasks") as scope:
            for task in [scope.spawn(crowd.pass_through(lock), name=str(number)) for number in range(5)]:
                await soon(task)
        assert (crowd.most, crowd.inside) == (1, 0)
        assert Grant.of(await one.store.read(grant_key("lock/invoice"))).token == 5

    async def test_f62_a_waiter_that_is_cancelled_or_out_of_time_leaves_no_place(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        async with lock_of(one):
            async with Scope("waiting") as scope:
                waiting = scope.spawn(lock_of(other).win(), name="other")
                await waiting_in(one.store, "lock/invoice", 2)
                await cancel_and_wait(waiting)
            with pytest.raises(WaitTimeoutError):
                await lock_of(other).win(timeout=0.05)
            await waiting_in(one.store, "lock/invoice", 1)
        async with lock_of(other) as next_one:
            assert next_one.token == 2, "nobody waited behind a ghost"

    async def test_the_value_outlives_the_death_of_its_holder(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        held = await soon(lock_of(one).win())
        await held.set(b"kept")
        await one.leases.die("was killed")
        async with lock_of(other) as heir:
            assert (heir.value, heir.token) == (b"kept", held.token + 1)
        assert await lock_of(other).value() == b"kept"

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_value_without_an_answer_is_settled(self, join: Join, fault: Fault) -> None:
        one = await join("one")
        async with lock_of(one) as held:
            one.store.plan("write", fault, key="grant/")
            await held.set(b"kept")
        assert await lock_of(one).value() == b"kept"

    async def test_a_value_is_refused_under_an_old_token(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        held = await soon(lock_of(one).win())
        session = (await one.leases.lease()).session
        await other.store.close_session(session, reason=b"was given up")  # and the holder does not know
        async with lock_of(other) as heir:
            await heir.set(b"new")
            with pytest.raises((StaleTermError, TermEndedError)):
                await held.set(b"old")
        assert await lock_of(other).value() == b"new"

    async def test_names_that_were_used_once_leave_nothing_behind_and_no_token_comes_back(self, join: Join) -> None:
        one = await join("one")
        tokens = []
        for number in range(5):
            async with lock_of(one, f"name-{number}") as held:
                tokens.append(held.token)
        await Collector(one.commons).collect(idle_for=0.0)
        assert [(await one.store.list(prefix)).records for prefix in ("grant/", "line/", "journal/")] == [[], [], []]
        assert (await Floor.read(one.store)).token >= max(tokens)
        async with lock_of(one, "name-0") as again:
            assert again.token > max(tokens)

    async def test_one_that_is_used_again_is_not_collected(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        async with lock_of(one):
            pass
        async with lock_of(other) as held:
            await Collector(one.commons).collect(idle_for=0.0)
            held.check()
            grant = Grant.of(await one.store.read(grant_key("lock/invoice")))
            assert (grant.token, grant.holder is None) == (held.token, False)


class SharedContract(RecipeContract):
    """What is promised of what is held together, and of barriers (R11, R23)."""

    async def test_no_more_permits_are_held_than_there_are(self, join: Join) -> None:
        crew, crowd = [await join(f"web-{number}") for number in range(2)], Crowd()
        async with Scope("crew") as scope:
            tasks = [
                scope.spawn(crowd.pass_through(Semaphore(one.commons, "api", 2)), name="one")
                for one in crew
                for _ in range(4)
            ]
            for task in tasks:
                await soon(task)
        assert crowd.inside == 0
        assert crowd.most <= 2
        ours, theirs = (Semaphore(one.commons, "api", 2) for one in crew)
        async with ours, theirs:
            with pytest.raises(WaitTimeoutError):
                await ours.win(timeout=0)

    async def test_a_permit_of_the_dead_is_free_again(self, join: Join) -> None:
        dead, heir = await join("dead"), await join("heir")
        share = await soon(Semaphore(dead.commons, "api", 1).win())
        await waiting_in(heir.store, "semaphore/api", 0)  # whoever has a permit leaves the line a moment later
        async with Scope("heir") as scope:
            turn = scope.spawn(Semaphore(heir.commons, "api", 1).win(), name="heir")
            await waiting_in(heir.store, "semaphore/api", 1)
            await turns()
            assert not turn.done()
            await dead.leases.die("was killed")
            assert (await soon(turn)).is_current
        assert share.ended == "was killed"

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_permit_without_an_answer_is_settled(self, join: Join, fault: Fault) -> None:
        one = await join("one")
        async with Semaphore(one.commons, "api", 2):
            pass
        one.store.plan("write", fault, key="grant/")
        async with Semaphore(one.commons, "api", 2) as share:
            share.check()
            grant = Grant.of(await one.store.read(grant_key("semaphore/api")))
            assert len(grant.shares) == 1
            one.store.plan("write", fault, key="grant/")
        assert Grant.of(await one.store.read(grant_key("semaphore/api"))).shares == ()

    async def test_many_read_and_one_writes(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        ours, theirs = ReadWriteLock(one.commons, "index"), ReadWriteLock(other.commons, "index")
        async with ours.read(), theirs.read():
            with pytest.raises(WaitTimeoutError):
                await theirs.write().win(timeout=0)
        async with ours.write() as held:
            assert held.token == 1
            with pytest.raises(WaitTimeoutError):
                await theirs.read().win(timeout=0)
        async with theirs.read() as share:
            share.check()

    async def test_f63_a_writer_that_waits_is_let_in_before_readers_that_came_later(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        ours, theirs = ReadWriteLock(one.commons, "index"), ReadWriteLock(other.commons, "index")
        order: list[str] = []

        async def note(contest: Contest[Any], what: str) -> None:
            async with contest:
                order.append(what)

        async with Scope("crew") as scope:
            async with ours.read():
                await waiting_in(one.store, "rwlock/index", 0)  # whoever reads leaves the line a moment later
                writer = scope.spawn(note(theirs.write(), "write"), name="writer")
                await waiting_in(one.store, "rwlock/index", 1)
                reader = scope.spawn(note(ours.read(), "read"), name="reader")
                await waiting_in(one.store, "rwlock/index", 2)
                await turns()
                assert order == [], "a reader goes before a writer that waits"
            await soon(writer)
            await soon(reader)
        assert order == ["write", "read"]

    async def test_a_barrier_lets_all_go_on_when_the_last_one_arrives_and_the_dead_do_not_count(
        self, join: Join
    ) -> None:
        dead, one, other = await join("dead"), await join("one"), await join("other")
        async with Scope("parties") as scope:
            lost = scope.spawn(_lost(Barrier(dead.commons, "loaded", 2)), name="dead")
            await _arrived(one.store, "loaded")
            await dead.leases.die("was killed")
            first = scope.spawn(Barrier(one.commons, "loaded", 2).wait(), name="one")
            await turns()
            assert not first.done()
            await soon(Barrier(other.commons, "loaded", 2).wait())
            await soon(first)
            await soon(lost)

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_an_arrival_without_an_answer_counts_once(self, join: Join, fault: Fault) -> None:
        one, other = await join("one"), await join("other")
        one.store.plan("write", fault, key="barrier/")
        async with Scope("parties") as scope:
            first = scope.spawn(Barrier(one.commons, "loaded", 2).wait(), name="one")
            await _arrived(other.store, "loaded")
            await turns()
            assert not first.done()
            await soon(Barrier(other.commons, "loaded", 2).wait())
            await soon(first)
        with pytest.raises(WaitTimeoutError):
            await Barrier(one.commons, "loaded", 2).wait(timeout=0.05)


async def _lost(barrier: Barrier) -> None:
    with pytest.raises(SessionLostError):
        await barrier.wait()


async def _arrived(store: Store, name: str) -> None:
    async with asyncio.timeout(LONG), store.changes([f"barrier/{name}"]) as changes:
        while await store.read(f"barrier/{name}") is None:
            await anext(changes)
