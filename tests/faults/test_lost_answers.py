"""F31: the answer of any call of a trip is lost, and whoever made the call tries again, gives up or crashes (R16, R17).

Whatever happens: never two, tokens that grow, and never a grant held by someone who does not know. So another candidate
gets its turn each time; and while the first one lives, without its session being closed.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from itertools import product
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.coordination.grant import Grant, Holder, grant_key
from locum.coordination.line import line_prefix
from locum.names import random_id
from locum.registry import make_store
from locum.store import ABSENT
from tests.faults.kit.candidates import Ground, Terms, candidate
from tests.faults.kit.lossy import CALLS, FAULTS
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.runs import FULL, count, hurt
from tests.faults.kit.waiting import LONG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from locum.store import Store
    from tests.faults.kit.candidates import Candidate
    from tests.faults.kit.cluster import Cluster
    from tests.faults.kit.places import Place

TTL = 1.2
SCOPE = "election/settle"
REACTIONS = ("tries again", "gives up", "crashes")
TOGETHER = 8
FEW = 8
"""Of a hundred and more scenarios so many, at random, on each server, where the full count is not wanted."""
BESIDE = {"look at the neighbours", "close a silent one", "leave the line"}
"""What is no part of a trip that goes well: a release takes the place in line along."""


@asynccontextmanager
async def opened(ground: Ground) -> AsyncIterator[Store]:
    """The store as it is, without a network before it."""
    store = make_store(ground.url, namespace="faults", clock=Clock())
    store.call_timeout = 10.0
    await store.open()
    yield store
    await store.close()


async def leave_a_dead_holder(ground: Ground) -> None:
    """A grant that names a closed session."""
    async with opened(ground) as store:
        session = (await store.open_session(b"{}", nanoseconds(TTL), random_id())).id
        vacant = await store.write(grant_key(SCOPE), Grant().to_bytes(), expect=ABSENT)
        holder = Holder(session, random_id(), "dead", "")
        await store.write(grant_key(SCOPE), Grant(1, holder).to_bytes(), expect=vacant.revision)
        await store.close_session(session, reason=b"")


async def left_behind(ground: Ground) -> list[object]:
    """The holder of the grant, and who stands in line."""
    async with opened(ground) as store:
        holder = Grant.of(await store.read(grant_key(SCOPE))).holder
        return [*([holder] if holder else []), *(await store.list(line_prefix(SCOPE))).records]


async def judge(ground: Ground) -> None:
    """Nobody holds it and nobody stands in line, at the latest once the sessions of the dead are closed."""
    until = Clock().now() + nanoseconds(5 * TTL)
    while left := await left_behind(ground):
        assert Clock().now() < until, f"nobody knows of {left}"
        await asyncio.sleep(0.05)


async def another_has_its_turn(ground: Ground, two: Candidate) -> None:
    """It need not wait for the end of the first one's session: that beats on, if it lives."""
    try:
        async with asyncio.timeout(15 * TTL):
            await two.lead()
    except TimeoutError:
        raise AssertionError(f"nobody else had a turn: nobody knows of {await left_behind(ground)}") from None


async def watch(terms: Terms) -> None:
    while True:
        terms.check()
        await asyncio.sleep(0.005)


async def scenario(ground: Ground, call: str, faults: Sequence[str], reaction: str) -> None:
    """One trip with some calls of one sort hurt, and another candidate after it."""
    terms = Terms()
    if call != "create the grant":
        await leave_a_dead_holder(ground)
    async with (
        candidate(ground, "one", TTL, terms) as one,
        candidate(ground, "two", TTL, terms) as two,
    ):
        watching = asyncio.ensure_future(watch(terms))
        one.network.plan(call, faults)
        trip = one.scope.spawn(one.trip(), name="trip")
        match reaction:
            case "gives up":
                one.network.on_strike = trip.cancel
            case "crashes":
                one.network.on_strike = one.die
        async with asyncio.timeout(20 * TTL):
            await one.network.struck.wait()
        two.begin()
        await another_has_its_turn(ground, two)
        if reaction == "tries again":
            async with asyncio.timeout(20 * TTL):
                await trip
            assert "one" in {term.instance for term in terms.terms}
        if reaction == "gives up" and not one.stops:
            await one.sweep()  # a place in line may land after it was left; a grant has been taken care of by now
        await judge(ground)
        assert not watching.done(), watching.exception()
        watching.cancel()


async def run_all(place: Place, folder: Path, scenarios: Sequence[tuple[str, Sequence[str], str]]) -> None:
    """Run some scenarios, several at a time, and tell all that failed."""
    gate = asyncio.Semaphore(TOGETHER)
    failed: list[str] = []

    async def run(number: int, call: str, faults: Sequence[str], reaction: str) -> None:
        async with gate:
            try:
                await scenario(Ground(place.another().url, folder / f"{number}.db"), call, faults, reaction)
            except Exception as error:
                failed.append(f"{call} {' and '.join(faults)}; the caller {reaction}: {error!r}")

    async with asyncio.TaskGroup() as group:
        for number, (call, faults, reaction) in enumerate(scenarios):
            group.create_task(run(number, call, faults, reaction))
    assert not failed, "\n".join(failed)


@pytest.mark.stores(thorough=True)
async def test_f31_the_calls_of_a_trip(tmp_path: Path, place: Place) -> None:
    """All of them are lost in the tests below: whoever adds one adds it there."""
    seen: set[str] = set()
    for name, dead in (("fresh", False), ("after-one-that-died", True)):
        ground = Ground(place.another().url, tmp_path / f"{name}.db")
        if dead:
            await leave_a_dead_holder(ground)
        async with candidate(ground, "one", TTL, Terms()) as one:
            await one.trip()
            await judge(ground)
            seen |= one.network.seen
    assert seen - BESIDE == set(CALLS)


@pytest.mark.stores(thorough=True)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.timeout(1800)
async def test_f31_one_answer_lost(tmp_path: Path, place: Place, fault: str) -> None:
    scenarios = [(call, [fault], reaction) for call, reaction in product(CALLS, REACTIONS)]
    if not FULL and place.name != SqliteFile.name:
        scenarios = random.sample(scenarios, FEW)
    await run_all(place, tmp_path, scenarios)


@pytest.mark.stores(thorough=True)
async def test_f31_a_take_that_broke_is_swept(tmp_path: Path, place: Place) -> None:
    """Its answer is one that nobody expects, so nobody settles it: the sweep finds that we hold it (R17)."""
    ground, terms = Ground(place.url, tmp_path / "orders.db"), Terms()
    await leave_a_dead_holder(ground)
    async with (
        candidate(ground, "one", TTL, terms) as one,
        candidate(ground, "two", TTL, terms) as two,
    ):
        one.network.plan("take", ["breaks after"])
        one.network.on_strike = one.scope.spawn(one.trip(), name="trip").cancel
        async with asyncio.timeout(20 * TTL):
            await one.network.struck.wait()
        await one.sweep()
        two.begin()
        await another_has_its_turn(ground, two)
        assert one.leases.losses == [], "its session's end has released it, and not the sweep"
        await judge(ground)


@pytest.mark.stores(thorough=True)
async def test_f31_a_take_is_answered_late_and_no_beat_is_answered(tmp_path: Path, place: Place) -> None:
    """Its lease has run out when it learns that it holds the grant: no body begins (R15).

    Without a fence, which would take no time for an answer either.
    """
    ground, terms = Ground(place.url, tmp_path / "orders.db"), Terms()
    await leave_a_dead_holder(ground)
    async with (
        candidate(ground, "one", TTL, terms, fenced=False) as one,
        candidate(ground, "two", TTL, terms, fenced=False) as two,
    ):
        one.network.plan("take", ["answered late"])
        one.network.on_strike = lambda: one.network.plan("beat", ["lost before"] * 100)
        one.scope.spawn(one.trip(), name="trip")
        async with asyncio.timeout(20 * TTL):
            await one.network.struck.wait()
        two.begin()
        await another_has_its_turn(ground, two)
        assert [term.instance for term in terms.terms] == ["two"], "a body began on a lease that was over"


@pytest.mark.timeout(3600)
async def test_f31_several_answers_lost(tmp_path: Path, place: Place) -> None:
    scenarios = [([*both]) for both in product(FAULTS, FAULTS)]
    chosen = [(call, faults, reaction) for call, faults, reaction in product(CALLS, scenarios, REACTIONS)]
    if not FULL:
        chosen = random.sample(chosen, count(len(chosen), small=24))
    await run_all(place, tmp_path, chosen)


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(app="forgetful", ttl=6.0)
@pytest.mark.timeout(3600)
def test_f31_workers_that_lose_answers_are_killed(cluster: Cluster) -> None:
    """Real processes: a third of what their stores do for their workers is lost on the way, there or back."""
    many = count(60, small=4, on=cluster.place)
    for _ in range(many):
        kind = cluster.random.choice(["worker-killed", "instance-killed", "keeper-killed", "resigned"])
        hurt(cluster, kind, within=LONG)
    assert cluster.window.grant(cluster.service).token >= many
    cluster.stand()
    cluster.judge()
