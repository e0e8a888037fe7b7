"""Services whose work is divided: several instances in this process, over a real store."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.grant import Grant, grant_key
from locum.coordination.plan import Plan, plan_key
from locum.coordination.shard import Shard, ShardState, revive, shard_scope
from locum.coordination.shards import Sharding, Shards
from locum.errors import StaleTermError
from locum.scopes import happens
from locum.service import Mode
from locum.services.sharded import Resting, ShardedRunner
from locum.store import ANY
from locum.telemetry import ServiceFailed
from locum.testing.faults import Held
from tests.unit.kit import LONG, instance, soon
from tests.unit.services.house import House, restarting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from locum.testing.instances import Instance

OF = 8
QUICK = Sharding(of=OF, join_delay=0.0)


class Running:
    """A runner on an instance."""

    def __init__(self, one: Instance, body: Callable[[Shard], Awaitable[None]], sharding: Sharding) -> None:
        self.one, self.house = one, House(one.leases.owner.name)
        self.shards = Shards(one.commons, "orders", sharding)
        self.runner = ShardedRunner(
            "orders",
            body,
            None,
            shards=self.shards,
            resting=Resting(first=0.01, last=0.02, most=2),
            surroundings=self.house,
            restarts=restarting(self.house, "orders"),
            stop_timeout=5.0,
        )
        self.is_stopped = False

    @property
    def indices(self) -> set[int]:
        return {shard.index for shard in self.runner.owned}

    async def stop(self) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            await self.runner.stop("was stopped")
            await self.runner.close()

    async def owns(self, *, count: int) -> set[int]:
        """Wait until it has so many."""

        async def counted() -> None:
            while len(self.indices) != count:  # noqa: ASYNC110 - a runner tells nobody of each
                await asyncio.sleep(0.005)

        assert await happens(counted(), within=LONG), f"{self.house.instance} has {self.indices}"
        return self.indices


class Work:
    """A body that notes where it ran."""

    def __init__(self) -> None:
        self.shards: list[Shard] = []
        self.running: dict[int, int] = {}
        self.most = 0

    async def __call__(self, shard: Shard) -> None:
        self.shards.append(shard)
        self.running[shard.index] = self.running.get(shard.index, 0) + 1
        self.most = max(self.most, self.running[shard.index])
        try:
            while not shard.stopping:
                await shard.sleep(60)
        finally:
            self.running[shard.index] -= 1


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    """Starts runners, each on an instance of its own."""
    async with AsyncExitStack() as stack:

        async def begin(
            name: str, body: Any, sharding: Sharding = QUICK, before: Callable[[Instance], object] | None = None
        ) -> Running:
            one = await stack.enter_async_context(instance(tmp_path / "store.db", name))
            if before is not None:
                before(one)
            running = Running(one, body, sharding)
            await running.runner.start()
            stack.push_async_callback(running.stop)
            return running

        yield begin


async def state_of(one: Running, index: int) -> ShardState:
    return ShardState.of(Grant.of(await one.one.store.read(grant_key(shard_scope("orders", index)))).value)


async def test_one_instance_has_all_of_them(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1 = await start("web-1", work)
    assert await web_1.owns(count=OF) == set(range(OF))
    assert {(shard.of, shard.name, shard.instance) for shard in work.shards} == {(OF, "orders", "web-1")}
    assert web_1.house.modes == [Mode.STARTING, Mode.RUNNING]


async def test_who_joins_is_given_its_share_and_no_more_moves(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1 = await start("web-1", work)
    await web_1.owns(count=OF)
    web_2 = await start("web-2", work)
    theirs = await web_2.owns(count=OF // 2)
    assert await web_1.owns(count=OF // 2) == set(range(OF)) - theirs
    assert len(work.shards) == OF + OF // 2, "something moved without need"
    assert work.most == 1
    moved = next(shard for shard in work.shards if shard.instance == "web-2")
    assert moved.token == 2
    state = await state_of(web_1, moved.index)
    assert (state.owner, state.moves, state.reason) == ("web-2", 1, "web-1 was given to web-2")


async def test_who_stops_leaves_all_that_it_has_to_the_others(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1, web_2 = await start("web-1", work), await start("web-2", work)
    await web_1.owns(count=OF // 2)
    await web_2.owns(count=OF // 2)
    await web_2.stop()
    assert await web_1.owns(count=OF) == set(range(OF))
    assert work.most == 1


async def test_who_takes_twice_as_much_has_twice_as_many(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1 = await start("web-1", work, Sharding(of=9, join_delay=0.0))
    web_2 = await start("web-2", work, Sharding(of=9, join_delay=0.0, capacity=2.0))
    await web_2.owns(count=6)
    await web_1.owns(count=3)


async def test_nothing_is_written_while_nothing_moves(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1, web_2 = await start("web-1", work), await start("web-2", work)
    await web_1.owns(count=OF // 2)
    await web_2.owns(count=OF // 2)

    async def quiet() -> None:
        before = -1
        while (now := (await web_1.one.store.list("")).revision) != before:
            before = now
            await asyncio.sleep(0.3)

    assert await happens(quiet(), within=LONG), "the store never comes to rest"


async def test_the_next_owner_finds_the_checkpoint(start: Callable[..., Awaitable[Running]]) -> None:
    found: list[tuple[str, object]] = []

    async def body(shard: Shard) -> None:
        found.append((shard.instance, shard.position))
        await shard.checkpoint({"order": 7})
        await shard.asked()

    web_1 = await start("web-1", body, Sharding(of=1, join_delay=0.0))
    await web_1.owns(count=1)
    web_2 = await start("web-2", body, Sharding(of=1, join_delay=0.0))
    await web_1.stop()
    await web_2.owns(count=1)
    assert found[:1] == [("web-1", None)]
    assert await happens(_until(lambda: len(found) == 2), within=LONG)
    assert found[1] == ("web-2", {"order": 7})


async def test_h05_a_shard_that_fails_for_ever_dies_alone_and_can_be_revived(
    start: Callable[..., Awaitable[Running]],
) -> None:
    runs: list[int] = []

    async def body(shard: Shard) -> None:
        runs.append(shard.index)
        if shard.index == 3:
            raise ValueError("no such customer")
        await shard.asked()

    web_1 = await start("web-1", body)

    async def is_dead() -> None:
        while not (await state_of(web_1, 3)).dead:  # noqa: ASYNC110 - a store tells a reader nothing
            await asyncio.sleep(0.005)

    assert await happens(is_dead(), within=LONG)
    await web_1.owns(count=OF - 1)
    state = await state_of(web_1, 3)
    assert (state.failures, state.trouble) == (3, "raised ValueError: no such customer")
    assert runs.count(3) == 3
    assert len(runs) == OF + 2, "others were disturbed"
    failed = [event.retry_in for event in web_1.house.events if isinstance(event, ServiceFailed)]
    assert failed == [0.01, 0.02, None]
    assert await revive(web_1.one.store, "orders", 3)
    assert await happens(_until(lambda: runs.count(3) >= 4), within=LONG)
    assert not await revive(web_1.one.store, "orders", 2)


async def test_a_shard_that_gets_on_between_its_failures_does_not_die(start: Callable[..., Awaitable[Running]]) -> None:
    runs: list[Shard] = []

    async def body(shard: Shard) -> None:
        runs.append(shard)
        shard.has_progressed = len(runs) < 6
        raise ValueError("no such customer")

    one = await start("web-1", body, Sharding(of=1, join_delay=0.0))

    async def is_dead() -> None:
        while not (await state_of(one, 0)).dead:  # noqa: ASYNC110 - a store tells a reader nothing
            await asyncio.sleep(0.005)

    assert await happens(is_dead(), within=LONG)
    assert len(runs) == 7, "the last one that got on, and two more"
    assert (await state_of(one, 0)).failures == 3


async def test_what_a_fence_refuses_is_no_failure_of_the_shard_and_is_paused_for(
    start: Callable[..., Awaitable[Running]],
) -> None:
    tokens: list[int] = []

    async def body(shard: Shard) -> None:
        tokens.append(shard.token)
        if len(tokens) == 1:
            raise StaleTermError(shard.scope, shard.token, 41)
        await shard.asked()

    one = await start("web-1", body, Sharding(of=1, join_delay=0.0))
    await one.house.sees(lambda: one.house.events)
    (event,) = one.house.events
    assert isinstance(event, ServiceFailed)
    assert await happens(_until(lambda: event.retry_in in one.house.clock.slept), within=LONG)
    assert (tokens, one.indices) == ([1], set())
    one.house.clock.wake()
    assert await happens(_until(lambda: len(tokens) == 2), within=LONG)
    assert tokens == [1, 42]
    state = await state_of(one, 0)
    assert (state.failures, state.trouble) == (0, "")


async def test_a_stop_while_a_failed_shard_is_given_up_waits_for_no_pause(
    start: Callable[..., Awaitable[Running]],
) -> None:
    release = Held(answer=True)

    async def body(shard: Shard) -> None:
        raise ValueError("no such customer")

    def hold_the_release(one: Instance) -> None:
        one.store.plan("write", _goes, _goes, release, key=grant_key(shard_scope("orders", 0)))

    one = await start("web-1", body, Sharding(of=1, join_delay=0.0), before=hold_the_release)
    assert await happens(release.reached.wait(), within=LONG)
    stopping = asyncio.ensure_future(one.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done(), "it stopped before the shard was given up"
    release.let_go()
    assert await happens(stopping, within=LONG)
    assert (await state_of(one, 0)).failures == 1


async def _goes(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def test_h04_an_old_plan_costs_balance_and_is_mended(start: Callable[..., Awaitable[Running]]) -> None:
    work = Work()
    web_1, web_2 = await start("web-1", work), await start("web-2", work)
    await web_1.owns(count=OF // 2)
    await web_2.owns(count=OF // 2)
    old = Plan(1, ("gone",) * OF, {"gone": 1.0}, "gone")
    await web_1.one.store.write(plan_key("orders"), old.to_bytes(), expect=ANY)

    async def mended() -> None:
        while Plan.of(await web_1.one.store.read(plan_key("orders"))).owners == old.owners:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    assert await happens(mended(), within=LONG)
    await web_1.owns(count=OF // 2)
    await web_2.owns(count=OF // 2)
    assert len(work.shards) <= OF + OF // 2
    assert work.most == 1


async def test_h04_a_plan_that_forgets_an_owner_moves_nothing(start: Callable[..., Awaitable[Running]]) -> None:
    """Whether the one it forgets computes or the other one."""
    work, slow = Work(), Sharding(of=OF, join_delay=0.5)
    web_1, web_2 = await start("web-1", work, slow), await start("web-2", work, slow)
    await web_1.owns(count=OF // 2)
    await web_2.owns(count=OF // 2)
    key, store = plan_key("orders"), web_1.one.store

    def owned() -> list[tuple[str, int, int]]:
        return [(one.house.instance, shard.index, shard.token) for one in (web_1, web_2) for shard in one.runner.owned]

    before = owned()

    async def mended() -> Plan:
        while len((plan := Plan.of(await store.read(key))).capacities) < 2:  # noqa: ASYNC110 - a store tells nobody
            await asyncio.sleep(0.005)
        return plan

    for kept in ("web-1", "web-2"):
        await store.write(key, Plan(1, (kept,) * OF, {kept: 1.0}, kept).to_bytes(), expect=ANY)
        plan = await soon(mended())
        assert {index for index in range(OF) if plan.owner(index) == "web-1"} == await web_1.owns(count=OF // 2)
        assert {index for index in range(OF) if plan.owner(index) == "web-2"} == await web_2.owns(count=OF // 2)
    assert owned() == before, "something moved away, and back"


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a body tells nobody
        await asyncio.sleep(0.005)
