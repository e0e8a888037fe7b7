"""Who wins, in which order, and what becomes of answers that do not come: elections over a real store."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import nanoseconds
from locum.coordination.coordinator import Coordinator
from locum.coordination.election import Election
from locum.coordination.grant import Grant, Holder, Reserved, grant_key
from locum.coordination.line import Entry, line_prefix
from locum.coordination.request import Request, request_key
from locum.errors import TermEndedError, TransferRefusedError, WaitTimeoutError
from locum.floor import Floor
from locum.journal import Journal
from locum.keeper.owner import Ending
from locum.names import random_id
from locum.store import ABSENT, ANY
from locum.telemetry import TermEnded, TermStarted
from locum.testing.faults import FaultyStore, Held, answer_lost, refused, request_lost
from locum.testing.instances import Instance
from tests.unit.kit import LONG, ShiftedClock, instance, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.clock import Clock
    from locum.coordination.term import Term

SCOPE = "election/settlement"
GRANT = grant_key(SCOPE)
LINE = line_prefix(SCOPE)
LOST = [request_lost, answer_lost, refused]


class Cluster:
    """Instances on one file."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self._path, self._stack = path, stack

    async def add(self, name: str, *, ttl: float = 60.0, clock: Clock | None = None) -> Instance:
        return await self._stack.enter_async_context(instance(self._path, name, ttl=ttl, clock=clock))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        yield Cluster(tmp_path / "store.db", stack)


@pytest.fixture
async def one(cluster: Cluster) -> Instance:
    return await cluster.add("web-1")


@pytest.fixture
async def other(cluster: Cluster) -> Instance:
    return await cluster.add("web-2")


async def win(one: Instance) -> Term:
    return await soon(election_of(one).win())


def election_of(one: Instance) -> Election:
    """The instance's election: it knows the claims of its terms, so there is one."""
    return one.election("settlement")


async def grant_in(store: FaultyStore) -> Grant:
    return Grant.of(await store.read(GRANT))


async def line_of(store: FaultyStore) -> list[str]:
    return [json.loads(record.value)["instance"] for record in (await store.list(LINE)).records]


async def in_line(store: FaultyStore, count: int) -> None:
    async with asyncio.timeout(LONG), store.changes([LINE]) as changes:
        while len(await line_of(store)) != count:
            await anext(changes)


async def vacant(store: FaultyStore) -> Grant:
    async with asyncio.timeout(LONG), store.changes([GRANT]) as changes:
        while (grant := await grant_in(store)).holder is not None:
            await anext(changes)
    return grant


async def looked(one: Instance, *, after: int = 0) -> int:
    """Wait until a candidate has looked at the line once more and acted on that; how often it has looked."""
    await until(lambda: one.store.answered("list", LINE) > after, "a look at the line")
    await turns()
    await until(lambda: one.store.answered("sessions") == one.store.count("sessions"), "the rest of that look")
    await turns()
    return one.store.answered("list", LINE)


def started(one: Instance) -> list[TermStarted]:
    return [event for event in one.told if isinstance(event, TermStarted)]


# -- one wins


async def test_the_first_one_wins_with_a_grant_that_names_it(one: Instance) -> None:
    term = await win(one)
    grant = await grant_in(one.store)
    assert grant.holder is not None
    assert (grant.holder.instance, grant.token) == ("web-1", term.token) == ("web-1", 1)
    assert grant.holder.session == (await one.leases.lease()).session
    assert term.is_current
    assert one.leases.armed, "the timer stands"
    assert [str(event) for event in started(one)] == ["web-1 is active in settlement (token 1)."]


async def test_the_second_one_waits_and_is_next(one: Instance, other: Instance) -> None:
    first = await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    assert not waiting.done()
    await election_of(one).resign(first, "resigned")
    second = await soon(waiting)
    assert second.token == first.token + 1
    assert not first.is_current
    assert one.leases.armed == set()
    await turns()  # it is told after what is done under it has begun
    (event,) = started(other)
    assert (event.previous, event.why) == ("web-1", "resigned")
    assert event.gap is not None


async def test_of_many_at_once_one_wins_at_a_time_and_tokens_only_grow(cluster: Cluster) -> None:
    instances = [await cluster.add(f"web-{number}") for number in range(4)]
    holding: list[str] = []
    tokens: list[int] = []

    async def take_turns(one: Instance) -> None:
        for _ in range(3):
            term = await election_of(one).win()
            holding.append(term.instance)
            assert len(holding) == 1
            tokens.append(term.token)
            await turns(3)
            holding.pop()
            await election_of(one).resign(term, "done")

    await soon(asyncio.gather(*map(take_turns, instances)))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 12


async def test_turns_are_taken_in_the_order_of_coming(cluster: Cluster) -> None:
    instances = [await cluster.add(f"web-{number}") for number in range(4)]
    won: list[str] = []
    first = await win(instances[0])

    async def wait_for_turn(one: Instance) -> None:
        term = await election_of(one).win()
        won.append(term.instance)
        await election_of(one).resign(term, "done")

    waiting = []
    for place, one in enumerate(instances[1:], 2):
        waiting.append(asyncio.ensure_future(wait_for_turn(one)))
        await in_line(one.store, place)
    await election_of(instances[0]).resign(first, "done")
    await soon(asyncio.gather(*waiting))
    assert won == ["web-1", "web-2", "web-3"]


async def test_two_tasks_of_one_process_are_two_candidates(one: Instance) -> None:
    first = await win(one)
    waiting = asyncio.ensure_future(election_of(one).win())
    await in_line(one.store, 2)
    assert not waiting.done()
    await election_of(one).resign(first, "resigned")
    second = await soon(waiting)
    assert (first.token, second.token) == (1, 2)
    assert second.is_current


async def test_a_holder_that_died_is_followed_and_the_event_says_how_it_died(one: Instance, other: Instance) -> None:
    await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    ending = Ending("was killed (SIGKILL)", other.leases.clock.now(), other.commons.key)
    await other.store.close_session((await one.leases.lease()).session, reason=ending.to_bytes())
    term = await soon(waiting)
    assert term.token == 2
    await turns()
    (event,) = started(other)
    assert (event.previous, event.why) == ("web-1", "was killed (SIGKILL)")
    assert event.gap is not None


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "cannot-begin"])
async def test_the_successor_notes_the_end_of_one_that_died(one: Instance, other: Instance, begins: bool) -> None:
    await win(one)
    await one.store.close_session((await one.leases.lease()).session, reason=Ending("was killed").to_bytes())
    if begins:
        await win(other)
    else:
        generation = (await other.leases.lease()).generation
        other.leases.before_arming = lambda: other.leases.cell.begin(generation, 1, 1)  # its deadlines have passed
        with pytest.raises(WaitTimeoutError):
            await election_of(other).win(timeout=0.2)
    async with other.store.changes(["journal/"]) as changes:
        while not (entries := await Journal(other.store).entries(SCOPE)):
            await soon(anext(changes))
    entry = next(entry for entry in entries if entry.token == 1)
    assert (entry.instance, entry.why, entry.told_by) == ("web-1", "was killed", "web-2")


# -- R13, R14: what a take demands


async def test_an_absent_grant_is_created_vacant_only(one: Instance) -> None:
    await win(one)
    written = [what for name, what in one.store.calls if name == "write" and what == GRANT]
    assert len(written) == 2, "made vacant, and then taken"


async def test_a_grant_that_is_there_is_never_created_again(one: Instance, other: Instance) -> None:
    first = await win(one)
    await election_of(one).resign(first, "done")
    before = await other.store.read(GRANT)
    await win(other)
    after = await other.store.read(GRANT)
    assert before is not None
    assert after is not None
    assert after.created == before.created


async def test_a_dead_session_wins_nothing(one: Instance, other: Instance) -> None:
    taking = Held(answer=False)
    await one.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    one.store.plan("write", taking, key=GRANT)
    winning = asyncio.ensure_future(election_of(one).win())
    await soon(taking.reached.wait())
    lease = await one.leases.lease()
    await other.store.close_session(lease.session, reason=b"fell silent")
    taking.let_go()
    await until(lambda: one.store.count("write", GRANT) >= 2, "the refused take")
    await turns()
    assert (await grant_in(other.store)).holder is None
    assert not winning.done()
    one.leases.lose("fell silent")
    await one.leases.begin()
    assert (await soon(winning)).token == 1, "and under a new session it stands in line again"


async def test_a_holder_whose_session_is_only_unknown_is_alive_until_watched_for_the_longest_ttl(
    cluster: Cluster,
) -> None:
    clock = ShiftedClock()
    one = await cluster.add("web-1", clock=clock, ttl=30.0)
    stranger = Holder(random_id(), random_id(), "web-9", "")
    await one.store.write(GRANT, Grant(7, stranger).to_bytes(), expect=ABSENT)
    winning = asyncio.ensure_future(election_of(one).win())
    looks = await looked(one)
    clock.shift(29.0)
    # more than 60 % have passed on the clock that shows the time: the lease goes on by a beat
    lease = await one.leases.lease()
    one.leases.cell.advance(clock.now() + nanoseconds(100), clock.now() + nanoseconds(100))
    await one.store.write(line_prefix(SCOPE) + "nudge", b'{"instance": "x"}', expect=ANY)
    await one.store.write(
        f"{LINE}{await _attempt_of(one)}", b'{"instance": "web-1"}', expect=ANY, session=lease.session
    )
    await looked(one, after=looks)
    assert not winning.done()
    assert (await grant_in(one.store)).token == 7
    clock.shift(30.0)  # as long again: it may have been seen first when the clock had been shifted
    await one.store.write(
        f"{LINE}{await _attempt_of(one)}", b'{"instance": "web-1"}', expect=ANY, session=lease.session
    )
    assert (await soon(winning)).token == 8


async def _attempt_of(one: Instance) -> str:
    (attempt,) = one.commons.attempts
    return attempt


async def test_a_restarted_watch_begins_again_when_the_grant_changes(cluster: Cluster) -> None:
    clock = ShiftedClock()
    one = await cluster.add("web-1", clock=clock, ttl=30.0)
    one.leases.cell.advance(clock.now() + nanoseconds(900), clock.now() + nanoseconds(900))
    await one.store.write(GRANT, Grant(7, Holder(random_id(), random_id(), "web-9", "")).to_bytes(), expect=ABSENT)
    winning = asyncio.ensure_future(election_of(one).win())
    looks = await looked(one)
    clock.shift(29.0)
    await one.store.write(GRANT, Grant(8, Holder(random_id(), random_id(), "web-9", "")).to_bytes(), expect=ANY)
    looks = await looked(one, after=looks)
    clock.shift(29.0)
    await one.store.write(
        f"{LINE}{await _attempt_of(one)}",
        b'{"instance": "web-1"}',
        expect=ANY,
        session=(await one.leases.lease()).session,
    )
    await looked(one, after=looks)
    assert not winning.done()
    winning.cancel()
    await asyncio.wait([winning])


# -- R15: the clock is looked at last


async def test_a_lease_that_is_over_before_the_body_means_a_release(one: Instance, other: Instance) -> None:
    lease = await one.leases.lease()

    def late() -> None:
        one.leases.before_arming = lambda: None
        one.leases.cell.begin(lease.generation, 1, 1)  # all its deadlines have passed

    one.leases.before_arming = late
    winning = asyncio.ensure_future(election_of(one).win())
    await in_line(one.store, 1)
    term = await soon(election_of(other).win())
    assert term.token > 1
    assert started(one) == []
    winning.cancel()
    await asyncio.wait([winning])


async def test_a_lease_past_its_deadline_takes_nothing_until_a_beat_is_answered(one: Instance) -> None:
    lease = await one.leases.lease()
    one.leases.cell.begin(lease.generation, 1, 1)
    await one.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    winning = asyncio.ensure_future(election_of(one).win())
    await looked(one)
    assert one.store.count("write", GRANT) == 1, "it would have to be given back at once"
    one.leases.cell.advance(one.leases.clock.now() + nanoseconds(60), one.leases.clock.now() + nanoseconds(60))
    record = await one.store.read(GRANT)
    assert record is not None
    await one.store.write(GRANT, record.value, expect=record.revision)  # its wake-up stands for the passing of time
    assert (await soon(winning)).token == 1


async def test_a_deadline_that_passes_while_the_timer_is_armed_means_a_release_too(one: Instance) -> None:
    lease = await one.leases.lease()
    one.leases.after_arming = lambda: one.leases.cell.begin(lease.generation, 1, 1)
    winning = asyncio.ensure_future(election_of(one).win())
    async with one.store.changes([GRANT]) as changes:
        while (grant := await grant_in(one.store)).token == 0 or grant.holder is not None:
            await soon(anext(changes))
    assert started(one) == []
    assert grant.past is not None
    assert "could not begin" in grant.past.why
    winning.cancel()
    await asyncio.wait([winning])
    await until(lambda: one.leases.armed == set(), "the timer's disarming")


# -- R16: answers that do not come


@pytest.mark.parametrize("fault", LOST)
async def test_a_take_without_an_answer_is_settled_and_is_one_term(one: Instance, fault: Any) -> None:
    await one.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    one.store.plan("write", fault, fault, key=GRANT)
    term = await win(one)
    grant = await grant_in(one.store)
    assert (term.token, grant.token) == (1, 1)
    assert grant.revision == term.revision
    await election_of(one).resign(term, "done")
    assert (await grant_in(one.store)).holder is None


@pytest.mark.parametrize("fault", LOST)
async def test_a_release_without_an_answer_is_sent_until_one_comes(one: Instance, other: Instance, fault: Any) -> None:
    term = await win(one)
    one.store.plan("write", fault, fault, fault, key=GRANT)
    await soon(election_of(one).resign(term, "done"))
    grant = await grant_in(one.store)
    assert grant.holder is None
    assert grant.past is not None
    assert (grant.token, grant.past.why) == (1, "done")
    assert (await win(other)).token == 2


async def test_a_release_whose_answer_is_lost_does_not_release_the_next_ones_term(
    one: Instance, other: Instance
) -> None:
    term = await win(one)
    answer = Held(answer=True, lost=True)
    one.store.plan("write", answer, key=GRANT)
    releasing = asyncio.ensure_future(election_of(one).resign(term, "done"))
    await soon(answer.reached.wait())
    second = await win(other)
    answer.let_go()
    await soon(releasing)
    assert second.is_current
    grant = await grant_in(one.store)
    assert grant.holder is not None
    assert (grant.holder.instance, grant.token) == ("web-2", 2)


async def test_a_caller_that_stops_waiting_for_a_release_leaves_it_to_a_settler(one: Instance, other: Instance) -> None:
    term = await win(one)
    request = Held(answer=False, lost=True)
    one.store.plan("write", request, key=GRANT)
    releasing = asyncio.ensure_future(election_of(one).resign(term, "done"))
    await soon(request.reached.wait())
    releasing.cancel()
    await asyncio.wait([releasing])
    request.let_go()
    assert (await win(other)).token == 2


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("lost", [True, False])
async def test_a_caller_that_gives_up_during_a_take_leaves_nothing_taken(
    one: Instance, other: Instance, answer: bool, lost: bool
) -> None:
    await one.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    take = Held(answer=answer, lost=lost)
    one.store.plan("write", take, key=GRANT)
    winning = asyncio.ensure_future(election_of(one).win())
    await soon(take.reached.wait())
    winning.cancel()
    await asyncio.wait([winning])
    assert winning.cancelled()
    take.let_go()
    term = await win(other)
    assert term.token == 2
    assert await line_of(other.store) == ["web-2"]
    assert started(one) == []


async def test_an_entry_in_the_line_whose_answer_is_lost_is_one_entry(one: Instance) -> None:
    one.store.plan("write", answer_lost, request_lost, key=LINE)
    await win(one)
    assert await line_of(one.store) == ["web-1"]


@pytest.mark.parametrize("fault", LOST)
async def test_a_look_without_an_answer_is_repeated(one: Instance, fault: Any) -> None:
    one.store.plan("read", fault, fault)
    one.store.plan("write", fault, key=GRANT)
    assert (await win(one)).token == 1


async def test_the_sessions_end_ends_the_waiting_for_an_answer(one: Instance) -> None:
    term = await win(one)
    one.store.always("write", refused, key=GRANT)
    releasing = asyncio.ensure_future(election_of(one).resign(term, "done"))
    await until(lambda: one.store.count("write", GRANT) >= 4, "sendings of the release")
    one.leases.lose("fell silent")
    await soon(releasing)


# -- R17: leftovers


async def test_a_grant_that_names_us_without_our_knowing_is_released_by_the_sweep(cluster: Cluster) -> None:
    clock = HurriedClock()
    one = await cluster.add("web-1", clock=clock, ttl=60.0)
    session = (await one.leases.lease()).session
    mine = Holder(session, random_id(), "web-1", "")
    theirs = Holder(random_id(), random_id(), "web-2", "")
    await one.store.write(grant_key("election/theirs"), Grant(6, theirs).to_bytes(), expect=ABSENT)
    await one.store.write(grant_key("election/ghost"), Grant(5, mine).to_bytes(), expect=ABSENT)
    term = await win(one)
    coordinator = Coordinator(one.commons)
    await coordinator.open()
    async with one.store.changes(["grant/"]) as changes:
        while (grant := Grant.of(await one.store.read(grant_key("election/ghost")))).holder is not None:
            await soon(anext(changes))
    assert grant.past is not None
    assert (grant.token, grant.past.why) == (5, "held it without knowing")
    assert Grant.of(await one.store.read(grant_key("election/theirs"))).holder == theirs
    assert term.is_current
    assert (await grant_in(one.store)).holder is not None
    assert set(clock.waited) == {600.0}, "every ten TTLs"


async def test_a_place_in_line_that_landed_after_its_candidate_had_left_is_swept(cluster: Cluster) -> None:
    one = await cluster.add("web-1", clock=HurriedClock(), ttl=60.0)
    other = await cluster.add("web-2")
    await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(one.store, 2)
    session = (await one.leases.lease()).session
    await one.store.write(LINE + random_id(), Entry.value("ghost"), expect=ABSENT, session=session)
    await Coordinator(one.commons).open()
    await in_line(one.store, 2)
    assert await line_of(one.store) == ["web-1", "web-2"], "the holder's place and the other's are not touched"
    waiting.cancel()


@pytest.mark.parametrize("fault", [request_lost, answer_lost])
@pytest.mark.parametrize(("call", "key"), [("list", "grant/"), ("list", "line/"), ("delete", "")])
async def test_a_sweep_whose_call_is_lost_goes_on_before_the_next(
    cluster: Cluster, call: str, key: str, fault: Any
) -> None:
    clock = HurriedClock()
    one = await cluster.add("web-1", clock=clock, ttl=3600.0)
    session = (await one.leases.lease()).session
    await one.store.write(LINE + random_id(), Entry.value("ghost"), expect=ABSENT, session=session)
    one.store.plan(call, fault, key=key)
    await Coordinator(one.commons).open()
    await until(lambda: clock.waited.count(36000.0) >= 2, "the pause after the first sweep")
    assert await line_of(one.store) == []


class HurriedClock(ShiftedClock):
    """Long sleeps are over at once, and the time with them is not."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    async def sleep(self, duration: float) -> None:
        if duration > 100:
            self.waited.append(duration)
            duration = 0.001
        await super().sleep(duration)


# -- R20: tokens and their floor


@pytest.mark.parametrize(("floor", "before", "token"), [(None, 0, 1), (41, 0, 42), (41, 60, 61), (41, 41, 42)])
async def test_a_token_is_above_the_grants_and_the_floor(
    one: Instance, floor: int | None, before: int, token: int
) -> None:
    if floor is not None:
        await one.store.write("floor", str(floor).encode(), expect=ABSENT)
    await one.store.write(GRANT, Grant(before).to_bytes(), expect=ABSENT)
    assert (await win(one)).token == token


async def test_the_floor_is_read_after_the_grant(one: Instance) -> None:
    await win(one)
    reads = [what for name, what in one.store.calls if name == "read"]
    assert reads.index("floor") > reads.index(GRANT)


async def test_a_floor_only_rises(one: Instance, other: Instance) -> None:
    await soon(asyncio.gather(*(Floor.lift(each.store, token) for each in (one, other) for token in (5, 9, 7))))
    found = await one.store.read("floor")
    assert found is not None
    assert found.value == b"9"


# -- R23: the line only orders


async def test_a_head_that_does_not_take_yields_after_its_window(cluster: Cluster) -> None:
    clock = ShiftedClock()
    one = await cluster.add("web-1", clock=clock)
    ghost = await cluster.add("web-9", clock=clock)
    session = (await ghost.leases.lease()).session
    await ghost.store.write(LINE + "ghost", b'{"instance": "web-9"}', expect=ABSENT, session=session)
    await ghost.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    winning = asyncio.ensure_future(election_of(one).win())
    await in_line(ghost.store, 2)
    looks = await looked(one)
    budget = (await one.leases.lease()).budget
    clock.shift(budget.claim_window / 1e9 * 0.9)
    record = await ghost.store.read(line_prefix(SCOPE) + "ghost")
    assert record is not None
    await ghost.store.write(record.key, record.value, expect=record.revision, session=session)
    await looked(one, after=looks)
    assert not winning.done(), "its window is not over"
    clock.shift(budget.claim_window / 1e9 * 0.2)
    await ghost.store.write(record.key, record.value, expect=ANY, session=session)
    assert (await soon(winning)).token == 1


async def test_the_window_is_a_fifth_of_the_ttl_for_each_that_stands_before(cluster: Cluster) -> None:
    one = await cluster.add("web-1", ttl=0.6)
    ghost = await cluster.add("web-9")
    session = (await ghost.leases.lease()).session
    for number in range(2):
        await ghost.store.write(f"{LINE}ghost{number}", b'{"instance": "web-9"}', expect=ABSENT, session=session)
    one.leases.cell.advance(one.leases.clock.now() + nanoseconds(60), one.leases.clock.now() + nanoseconds(60))
    begun = one.leases.clock.now()
    term = await win(one)
    assert one.leases.clock.now() - begun >= 2 * nanoseconds(0.12)
    assert term.token == 1


async def test_cancellation_leaves_no_ghost_in_the_line(one: Instance, other: Instance) -> None:
    await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    await in_line(other.store, 1)
    assert other.commons.attempts == set()


@pytest.mark.parametrize("fault", LOST)
async def test_nor_does_it_if_the_store_is_not_there_for_a_moment(one: Instance, other: Instance, fault: Any) -> None:
    await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    other.store.plan("delete", fault, fault, key=LINE)
    waiting.cancel()
    await asyncio.wait([waiting])
    await in_line(one.store, 1)


@pytest.mark.parametrize("answer", [True, False])
async def test_nor_does_it_while_the_entry_is_written(one: Instance, answer: bool) -> None:
    entry = Held(answer=answer)
    one.store.plan("write", entry, key=LINE)
    waiting = asyncio.ensure_future(election_of(one).win())
    await soon(entry.reached.wait())
    waiting.cancel()
    await asyncio.wait([waiting])
    entry.let_go()
    await in_line(one.store, 0)


async def test_a_wait_that_is_over_leaves_no_place_in_line(one: Instance, other: Instance) -> None:
    await win(one)
    with pytest.raises(WaitTimeoutError, match=r"election/settlement was not ours within 0\.05 s"):
        await election_of(other).win(timeout=0.05)
    await in_line(other.store, 1)


async def test_whoever_lost_its_place_stands_in_line_again(one: Instance, other: Instance) -> None:
    first = await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    await other.leases.die("fell silent")
    await other.leases.begin()
    await in_line(other.store, 2)
    await election_of(one).resign(first, "done")
    assert (await soon(waiting)).token == 2


# -- ends


async def test_an_abandoned_term_is_not_released(one: Instance) -> None:
    term = await win(one)
    one.leases.lose("fell silent")
    assert term.is_lost
    writes = one.store.count("write", GRANT)
    election_of(one).abandon(term)
    await turns()
    assert one.store.count("write", GRANT) == writes
    assert (await grant_in(one.store)).holder is not None
    assert one.leases.armed == set()
    (event,) = [told for told in one.told if isinstance(told, TermEnded)]
    assert (event.lost, event.why) == (True, "fell silent")


async def test_a_term_that_only_missed_its_deadline_is_released_when_its_body_has_ended(
    one: Instance, other: Instance
) -> None:
    first = await win(one)
    (await one.leases.lease()).miss("lost its lease")  # a beat is answered later: the session lives on
    election_of(one).abandon(first)
    assert first.is_lost
    assert (await win(other)).token == 2


async def test_an_abandoned_term_does_not_forget_a_later_one_of_this_process(one: Instance) -> None:
    first = await win(one)
    await one.leases.die("fell silent")
    await one.leases.begin()
    later = Election(one.commons, "settlement")
    second = await soon(later.win())
    election_of(one).abandon(first)
    assert one.commons.terms[SCOPE] is second


async def test_a_rested_term_keeps_its_grant_and_disarms_the_timer(one: Instance) -> None:
    term = await win(one)
    election_of(one).rest(term)
    assert one.leases.armed == set()
    assert term.is_current
    assert (await grant_in(one.store)).holder is not None


async def test_a_resigned_term_is_noted_once(one: Instance, other: Instance) -> None:
    term = await win(one)
    await election_of(one).resign(term, "was stopped")
    await win(other)
    async with other.store.changes(["journal/"]) as changes:
        while not (entries := await Journal(other.store).entries(SCOPE)):
            await soon(anext(changes))
    await one.commons.close(patience=20)
    await other.commons.close(patience=20)
    entries = await Journal(other.store).entries(SCOPE)
    assert [(entry.token, entry.why) for entry in entries] == [(1, "was stopped")]


@pytest.mark.parametrize("waits", [True, False])
async def test_what_is_to_be_settled_is_settled_before_the_close(one: Instance, waits: bool) -> None:
    term = await win(one)
    release, note = Held(answer=False), Held(answer=False)
    one.store.plan("write", release, key=GRANT)
    one.store.plan("write", note, key="journal/")
    resigning = asyncio.ensure_future(election_of(one).resign(term, "was stopped"))
    await soon(release.reached.wait())
    if not waits:
        resigning.cancel()
        await asyncio.wait([resigning])
    closing = asyncio.ensure_future(one.commons.close(patience=20))
    await turns()
    release.let_go()
    await soon(note.reached.wait())
    note.let_go()
    await soon(closing)
    await asyncio.wait([resigning])
    assert (await grant_in(one.store)).holder is None
    assert [entry.why for entry in await Journal(one.store).entries(SCOPE)] == ["was stopped"]


# -- R22: transfers


async def line_up(cluster: Cluster, count: int) -> tuple[list[Instance], Term, list[asyncio.Task[Term]]]:
    """The first of some instances holds the lead, the others wait in their order."""
    instances = [await cluster.add(f"web-{number}") for number in range(1, count + 1)]
    term = await win(instances[0])
    waiting = []
    for place, one in enumerate(instances[1:], 2):
        waiting.append(asyncio.create_task(election_of(one).win()))
        await in_line(one.store, place)
    return instances, term, waiting


async def test_a_transfer_leaves_the_lead_to_the_one_that_is_named_though_it_is_the_last_in_line(
    cluster: Cluster,
) -> None:
    (one, *_), term, (*others, last) = await line_up(cluster, 5)
    await election_of(one).transfer(to="web-5")
    assert term.is_current, "its end is only asked for"
    assert (term.wish, term.successor) == ("was transferred to web-5", "web-5")
    await election_of(one).resign(term, term.wish or "")
    assert (await soon(last)).token == 2
    assert (await grant_in(one.store)).reserved is None
    assert not any(task.done() for task in others)
    await one.commons.close(patience=LONG)
    entries = await Journal(one.store).entries(SCOPE)
    assert [(entry.instance, entry.why) for entry in entries] == [("web-1", "was transferred to web-5")]
    for task in others:
        task.cancel()


async def test_the_one_that_is_named_is_woken_wherever_it_stands_and_few_others(cluster: Cluster) -> None:
    instances, term, waiting = await line_up(cluster, 7)
    await turns()
    before = [one.store.count("list", LINE) for one in instances]
    asked = len(instances[0].store.calls)
    entry = (await instances[0].store.list(LINE)).records[5]
    await election_of(instances[0]).transfer(to="web-6")
    await election_of(instances[0]).resign(term, "was transferred to web-6")
    assert (await soon(waiting[4])).instance == "web-6"
    await until(lambda: ("write", entry.key) in instances[0].store.calls[asked:], "its entry to be written anew")
    assert not instances[0].store.count("delete", LINE)
    assert len((await instances[6].store.list(LINE)).records) == 6, "its place in line has gone with the release"
    written = [what for name, what in instances[0].store.calls[asked:] if name == "write" and LINE in str(what)]
    assert written == [entry.key], "its own entry wakes it"
    again = await instances[0].store.read(entry.key)
    assert again is not None
    assert replace(again, revision=entry.revision) == entry, "which stays what it was"
    looks = [one.store.count("list", LINE) - count for one, count in zip(instances, before, strict=True)]
    assert looks[3] == looks[4] == 0, "neither at the front, nor near the one that is named"
    for task in waiting:
        task.cancel()


async def test_a_transfer_falls_back_after_one_ttl_of_the_one_that_made_it(cluster: Cluster) -> None:
    """The named one stands in line and takes nothing; the next one waits for it, on its own clock."""
    clock = ShiftedClock()
    one = await cluster.add("web-1", ttl=60.0)
    two = await cluster.add("web-2", clock=clock, ttl=600.0)
    ghost = await cluster.add("web-9")
    term = await win(one)
    waiting = asyncio.ensure_future(election_of(two).win())
    await in_line(two.store, 2)
    session = (await ghost.leases.lease()).session
    entry = await ghost.store.write(LINE + "ghost", b'{"instance": "web-9"}', expect=ABSENT, session=session)
    await election_of(one).transfer(to="web-9")
    looks = two.store.answered("list", LINE)
    await election_of(one).resign(term, "was transferred to web-9")
    looks = await looked(two, after=looks)
    await one.commons.close(patience=LONG)
    for shift, taken in ((59.0, False), (60.0, True)):  # its first sight may come after the first shift
        clock.shift(shift)
        looks = two.store.answered("list", LINE)
        found = await ghost.store.read(entry.key)
        assert found is not None
        await ghost.store.write(found.key, found.value, expect=ANY, session=session)  # its wake-up stands for the time
        if not taken:
            await looked(two, after=looks)
            assert not waiting.done()
            grant = await grant_in(two.store)
            assert grant.reserved == Reserved("web-9", nanoseconds(60))
    assert (await soon(waiting)).token == 2


async def test_whoever_is_next_takes_over_at_once_when_the_named_one_leaves(cluster: Cluster) -> None:
    one, two, ghost = [await cluster.add(f"web-{number}") for number in (1, 2, 9)]
    term = await win(one)
    waiting = asyncio.ensure_future(election_of(two).win())
    await in_line(two.store, 2)
    session = (await ghost.leases.lease()).session
    await ghost.store.write(LINE + "ghost", b'{"instance": "web-9"}', expect=ABSENT, session=session)
    await election_of(one).transfer(to="web-9")
    looks = two.store.answered("list", LINE)
    await election_of(one).resign(term, "was transferred to web-9")
    await looked(two, after=looks)
    assert not waiting.done()
    await ghost.leases.die("was stopped")
    assert (await soon(waiting)).token == 2


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("web-1", "it is the active one already"),
        ("web-9", r"it does not wait in line \(in line: web-2\); nothing was changed"),
    ],
)
async def test_a_transfer_to_one_that_does_not_wait_is_refused_before_anything_is_given_up(
    one: Instance, other: Instance, to: str, why: str
) -> None:
    term = await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    with pytest.raises(TransferRefusedError, match=why):
        await election_of(one).transfer(to=to)
    assert term.is_current
    assert term.wish is None
    waiting.cancel()


async def test_what_is_not_held_here_or_ends_already_cannot_be_transferred(one: Instance, other: Instance) -> None:
    with pytest.raises(TransferRefusedError, match="web-2 is not active in it"):
        await election_of(other).transfer(to="web-1")
    term = await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    term.ask_to_resign("was asked to resign")
    with pytest.raises(TransferRefusedError, match="ends already: it was asked to resign"):
        await election_of(one).transfer(to="web-2")
    term.ask_to_resign("was transferred to web-2", successor="web-2")
    assert (term.wish, term.successor) == ("was asked to resign", ""), "the first wish counts"
    waiting.cancel()


async def test_a_block_may_transfer_its_own_lead(one: Instance, other: Instance) -> None:
    held, stands = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with election_of(one).lead():
            held.set()
            await stands.wait()
            await election_of(one).transfer(to="web-2")
            await asyncio.Event().wait()

    holding = asyncio.ensure_future(hold())
    await soon(held.wait())
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    stands.set()
    with pytest.raises(TermEndedError, match="was transferred to web-2"):
        await soon(holding)
    assert (await soon(waiting)).token == 2


@pytest.mark.parametrize("fault", LOST)
async def test_a_transfer_without_an_answer_is_sent_until_one_comes(one: Instance, other: Instance, fault: Any) -> None:
    term = await win(one)
    waiting = asyncio.ensure_future(election_of(other).win())
    await in_line(other.store, 2)
    await election_of(one).transfer(to="web-2")
    one.store.plan("write", fault, fault, key=GRANT)
    one.store.plan("write", fault, fault, key=LINE)
    one.store.plan("list", fault, key=LINE)
    await soon(election_of(one).resign(term, "was transferred to web-2"))
    assert (await soon(waiting)).token == 2


async def test_a_request_transfers_the_term_that_it_means_and_no_other(one: Instance, other: Instance) -> None:
    coordinator = Coordinator(one.commons)
    await coordinator.open()
    term = await win(one)
    for token, successor in ((99, "web-9"), (1, "web-2")):
        request = Request(token, f"was transferred to {successor}", successor)
        await one.store.write(request_key(SCOPE), request.to_bytes(), expect=ANY)
    await soon(term.over())
    assert (term.wish, term.successor) == ("was transferred to web-2", "web-2")


# -- lead


async def test_a_block_that_ends_resigns(one: Instance, other: Instance) -> None:
    async with election_of(one).lead() as term:
        before = term.ended
    assert (before, term.ended) == (None, "resigned")
    assert (await win(other)).token == 2


async def test_a_block_that_raises_resigns_with_the_reason(one: Instance) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        async with election_of(one).lead():
            raise RuntimeError("boom")
    grant = await vacant(one.store)
    assert grant.past is not None
    assert grant.past.why == "raised RuntimeError: boom"


async def test_a_block_whose_term_is_lost_is_cancelled_and_told(one: Instance) -> None:
    async def hold() -> None:
        async with election_of(one).lead():
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await soon(held.wait())
    one.leases.lose("fell silent")
    with pytest.raises(TermEndedError, match="fell silent"):
        await soon(holding)


async def test_a_block_of_which_the_end_is_asked_for_is_cancelled_and_released(one: Instance) -> None:
    coordinator = Coordinator(one.commons)
    await coordinator.open()

    async def hold() -> None:
        async with election_of(one).lead():
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await soon(held.wait())
    for token in (99, 1):  # of another term, and of this one
        await one.store.write(f"request/{SCOPE}", json.dumps({"token": token, "why": "was asked"}).encode(), expect=ANY)
    with pytest.raises(TermEndedError, match="was asked"):
        await soon(holding)
    grant = await vacant(one.store)
    assert grant.past is not None
    assert grant.past.why == "was asked"


async def test_a_cancelled_block_stays_cancelled_and_resigns(one: Instance) -> None:
    async def hold() -> None:
        async with election_of(one).lead():
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await soon(held.wait())
    holding.cancel()
    await asyncio.wait([holding])
    assert holding.cancelled()
    await vacant(one.store)


@pytest.mark.parametrize("fault", LOST)
async def test_the_end_of_a_term_is_noted_though_an_answer_did_not_come(one: Instance, fault: Any) -> None:
    """What is not answered at first is asked again: how it ended is not to be lost for that."""
    election = election_of(one)
    term = await soon(election.win())
    one.store.plan("write", fault, fault, key="journal/")
    await election.resign(term, "was asked to resign")
    async with asyncio.timeout(LONG), one.store.changes(["journal/"]) as changes:
        while not await Journal(one.store).entries(SCOPE):
            await anext(changes)
    assert [entry.why for entry in await Journal(one.store).entries(SCOPE)] == ["was asked to resign"]
