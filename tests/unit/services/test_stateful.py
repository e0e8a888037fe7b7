"""Stateful services in hosts of one process: their roles, their state, and what a hook's fault comes to."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
import pytest
from sqlalchemy import delete
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from locum import AsgiListener, Coordinator, Host, Listening, Restart, Role, StatefulService, Term, int64_range, named
from locum.coordination.client import ACTIVE, ENDED, NO
from locum.coordination.partitions import partitioning_of
from locum.errors import ConfigurationError, NotPrimaryError, StartError
from locum.store import ANY
from tests.unit.kit import LONG, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from starlette.requests import Request


class Counts(StatefulService):
    """A number, and notes of all that becomes of the service's objects."""

    join_delay = 0.0
    all: ClassVar[list[Counts]]
    fails_at: ClassVar[str] = ""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.all.append(self)

    def take(self, step: str) -> None:
        self.steps.append(step)
        if step == self.fails_at:
            type(self).fails_at = ""
            raise ValueError(f"boom at {step}")

    def listeners(self) -> Iterable[AsgiListener | Listening]:
        yield AsgiListener(self.add)
        yield Listening(listener=AsgiListener(self.read), name="reads", on_secondary=True)

    async def add(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        async with self.state.transaction() as tx:
            number = await self.state.dictionary("counts").get(tx, "n", default=0) + 1
            await self.state.dictionary("counts").set(tx, "n", number)
        await say(send, number)

    async def read(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await say(send, [self.state.dictionary("counts").read("n", default=0), self.state.staleness, self.role.value])

    async def on_open(self) -> None:
        self.take("on_open")

    async def on_change_role(self, role: Role) -> None:
        self.take(f"is {role.value}")

    async def on_data_loss(self) -> None:
        self.take("lost data")

    async def run(self, term: Term) -> None:
        self.take(f"runs, writes {'granted' if self.state.is_writable else 'refused'}")
        try:
            await asyncio.sleep(3600)
        finally:
            self.take(f"run ends, writes {'granted' if self.state.is_writable else 'refused'}")

    async def on_close(self) -> None:
        self.take("on_close")

    async def on_abort(self) -> None:
        self.take("on_abort")


async def say(send: Any, what: object) -> None:
    """Answer with JSON."""
    body = json.dumps(what).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def counts() -> type[Counts]:
    """The service, with notes of its own."""
    return type("Counts", (Counts,), {"all": [], "fails_at": ""})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def host(url: str, service: type[StatefulService], name: str = "web-1") -> Host:
    made = Host("billing", store=url, instance=name)
    made.add(service, name="counts", restart="on_failure", stop_timeout=LONG)
    return made


@pytest.fixture
async def coordinator(url: str) -> AsyncIterator[Coordinator]:
    async with Coordinator.connect(url, namespace="billing") as coordinator:
        yield coordinator


PRIMARY = ["on_open", "is secondary", "runs, writes granted", "is primary"]
CLOSED = ["run ends, writes refused", "is none", "on_close"]


def is_primary(service: Counts) -> bool:
    return service.steps[-2:] == PRIMARY[-2:]


async def test_it_goes_through_its_roles_with_writes_granted_and_revoked_in_order(
    url: str, counts: type[Counts]
) -> None:
    async with host(url, counts).lifespan():
        await until(lambda: counts.all and is_primary(counts.all[0]), "the primary")
    (only,) = counts.all
    assert only.steps == PRIMARY + CLOSED


async def test_the_next_primary_has_the_state_and_callers_find_it(
    url: str, counts: type[Counts], coordinator: Coordinator
) -> None:
    async with AsyncExitStack() as later, coordinator.client("counts", timeout=LONG) as client:
        async with host(url, counts).lifespan():
            assert (await client.post("/", repeatable=True)).json() == 1
            await later.enter_async_context(host(url, counts, "web-2").lifespan())
            await until(lambda: len(counts.all) == 2 and "is secondary" in counts.all[1].steps, "the secondary")
            assert (await client.post("/", repeatable=True)).json() == 2
        assert (await client.post("/", repeatable=True)).json() == 3
    first, second = counts.all
    assert first.steps == second.steps == PRIMARY + CLOSED


async def test_a_secondary_cannot_write(url: str, counts: type[Counts]) -> None:
    async with host(url, counts).lifespan(), host(url, counts, "web-2").lifespan():
        await until(lambda: any(map(is_primary, counts.all)), "the primary")
        await until(lambda: {one.role for one in counts.all} == {Role.PRIMARY, Role.SECONDARY}, "the secondary")
        secondary = next(one for one in counts.all if one.role is Role.SECONDARY)
        with pytest.raises(NotPrimaryError):
            async with secondary.state.transaction():
                raise AssertionError


@pytest.mark.parametrize("at", ["on_open", "is secondary", "is primary", "runs, writes granted"])
async def test_s06_what_fails_on_the_way_up_is_aborted_or_closed_and_a_new_object_begins(
    url: str, counts: type[Counts], at: str
) -> None:
    counts.fails_at = at
    one = host(url, counts)
    async with one.lifespan():
        await until(lambda: len(counts.all) == 2 and is_primary(counts.all[1]), "another object")
        assert one.plan.health is not None
        assert one.plan.health.picture()["services"]["counts"]["error"] == f"ValueError: boom at {at}"
    failed, good = counts.all
    assert failed.steps[-1] in ("on_abort", "on_close")
    assert good.steps == PRIMARY + CLOSED


@pytest.mark.parametrize("at", CLOSED)
async def test_s06_what_fails_on_the_way_down_keeps_no_later_step_from_being_taken(
    url: str, counts: type[Counts], at: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(url, counts).lifespan():
        await until(lambda: counts.all and is_primary(counts.all[0]), "the primary")
        counts.fails_at = at
    (only,) = counts.all
    assert only.steps == PRIMARY + CLOSED
    assert "counts did not end as it should" in caplog.text


async def test_primaries_are_spread_when_another_instance_has_caught_up(url: str, counts: type[Counts]) -> None:
    counts.partitions = int64_range(4)

    def led(by: str) -> int:
        return sum(one.role is Role.PRIMARY for one in counts.all if names[one] == by)

    names: dict[Counts, str] = {}

    def named_as(name: str) -> type[Counts]:
        class Theirs(counts):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                super().__init__()
                names[self] = name

        return Theirs

    async with host(url, named_as("web-1"), "web-1").lifespan():
        await until(lambda: led("web-1") == 4, "all primaries on one")
        async with host(url, named_as("web-2"), "web-2").lifespan():
            await until(lambda: led("web-1") == led("web-2") == 2, "two each")
            assert len(counts.all) == 8
        await until(lambda: led("web-1") == 4, "all of them again")


async def test_a_service_that_is_divided_otherwise_does_not_start(url: str, counts: type[Counts]) -> None:
    async with host(url, counts).lifespan():
        pass
    counts.partitions = named("eu", "us")
    with pytest.raises(StartError, match="1 partitions by singleton, and cannot have 2 by named") as failure:
        async with host(url, counts).lifespan():
            raise AssertionError
    assert isinstance(failure.value.__cause__, ConfigurationError)


async def test_who_asks_for_a_key_finds_the_partition_it_belongs_to(
    url: str, counts: type[Counts], coordinator: Coordinator
) -> None:
    counts.partitions = named("eu", "us")
    async with host(url, counts).lifespan(), coordinator.client("counts", timeout=LONG) as client:
        assert (await client.post("/", key="eu", repeatable=True)).json() == 1
        assert (await client.post("/", key="us", repeatable=True)).json() == 1
        assert (await client.post("/", key="eu", repeatable=True)).json() == 2
        with pytest.raises(ConfigurationError, match="'de' names no partition"):
            await client.post("/", key="de")


async def test_a_stop_while_it_opens_waits_for_nothing(url: str, counts: type[Counts]) -> None:
    class Slow(counts):  # type: ignore[misc, valid-type]
        async def on_open(self) -> None:
            await super().on_open()
            await asyncio.sleep(3600)

    async with host(url, Slow).lifespan():
        await until(lambda: counts.all and counts.all[0].steps == ["on_open"], "its opening")
    (only,) = counts.all
    assert only.steps == ["on_open", "on_abort"]


async def test_what_fails_again_and_again_is_a_crash_loop_of_its_host(url: str, counts: type[Counts]) -> None:
    class Fails(counts):  # type: ignore[misc, valid-type]
        async def run(self, term: Term) -> None:
            raise ValueError("boom")

    one = Host("billing", store=url, instance="web-1")
    one.add(Fails, name="counts", restart=Restart(most=2, first=0.01, last=0.01))
    async with one.lifespan():
        health = one.plan.health
        assert health is not None
        await until(lambda: health.picture()["services"]["counts"]["state"] == "stopped", "the host to stop")
    assert len(counts.all) == 3


@pytest.mark.parametrize("replicas", [1, 3])
async def test_what_is_never_run_again_is_left_to_others(url: str, counts: type[Counts], replicas: int) -> None:
    counts.replicas = replicas

    class Fails(counts):  # type: ignore[misc, valid-type]
        async def run(self, term: Term) -> None:
            raise ValueError("boom")

    one = Host("billing", store=url, instance="web-1")
    one.add(Fails, name="counts", restart="never")
    async with one.lifespan():
        health = one.plan.health
        assert health is not None
        await until(lambda: health.picture()["services"]["counts"]["state"] == "failed", "the first one to give up")
        async with host(url, counts, "web-2").lifespan():
            await until(lambda: any(is_primary(each) for each in counts.all), "the other one to lead")
    assert len(counts.all) == 2


async def test_who_is_promoted_and_had_more_than_the_log_has_now_is_told(
    url: str, counts: type[Counts], coordinator: Coordinator
) -> None:
    async with AsyncExitStack() as later, coordinator.client("counts", timeout=LONG) as client:
        async with host(url, counts).lifespan():
            await until(lambda: counts.all and is_primary(counts.all[0]), "the primary")
            await later.enter_async_context(host(url, counts, "web-2").lifespan())
            await until(lambda: len(counts.all) == 2 and "is secondary" in counts.all[1].steps, "the secondary")
            for _ in range(3):
                await client.post("/", repeatable=True)
            secondary = next(one for one in counts.all if one.role is Role.SECONDARY)
            await soon(secondary.state.caught_up(3))
            rows = secondary.state._database.rows
            log = rows.ledger._log
            await rows.transact(lambda db: db.execute(delete(log).where(log.c.position > 1)))
        await until(lambda: "lost data" in secondary.steps, "it to be told")
        assert (await client.post("/", repeatable=True)).json() == 2
    assert secondary.steps == ["on_open", "is secondary", "lost data", *PRIMARY[2:], *CLOSED]


async def test_how_it_is_divided_is_written_down_again_in_a_store_that_has_forgotten_it(
    url: str, counts: type[Counts], coordinator: Coordinator
) -> None:
    store = coordinator._commons.store
    async with host(url, counts).lifespan():
        await until(lambda: counts.all and is_primary(counts.all[0]), "the primary")
        await store.delete("partitioning/counts", expect=ANY)
        await store.delete("partition-plan/counts", expect=ANY)
        async with asyncio.timeout(LONG), store.changes(["partitioning/"]) as changes:
            while (found := await partitioning_of(store, "counts")) is None:
                await anext(changes)
        assert found == counts.partitions


async def test_a_replica_moves_by_catching_up_elsewhere_and_then_being_handed_over(
    url: str, counts: type[Counts], coordinator: Coordinator
) -> None:
    """With one replica each there is nobody else who could lead meanwhile, and nothing may be lost."""
    counts.partitions, counts.replicas = named("a", "b", "c", "d"), 1
    keys = counts.partitions.names
    async with AsyncExitStack() as later, coordinator.client("counts", timeout=LONG) as client:
        async with host(url, counts).lifespan():
            for key in keys:
                assert (await client.post("/", key=key, repeatable=True)).json() == 1
            await later.enter_async_context(host(url, counts, "web-2").lifespan())
            await until(lambda: sum("on_close" in one.steps for one in counts.all) == 2, "two to have moved")
            await until(lambda: sum(is_primary(one) for one in counts.all) == 4, "four to lead")
            for key in keys:
                assert (await client.post("/", key=key, repeatable=True)).json() == 2
        for key in keys:
            assert (await client.post("/", key=key, repeatable=True)).json() == 3
    assert {one.steps[-1] for one in counts.all} == {"on_close"}


# -- what callers of an application are told


class Web(StatefulService):
    """A web application of a framework, which answers errors in its own way."""

    join_delay = 0.0
    all: ClassVar[list[Web]]

    def __init__(self) -> None:
        self.asked, self.may_go = asyncio.Event(), asyncio.Event()
        self.all.append(self)

    def listeners(self) -> Iterable[AsgiListener]:
        paths = {"/writes": self.writes, "/twice": self.twice, "/hides": self.hides, "/breaks": self.breaks}
        yield AsgiListener(Starlette(routes=[Route(path, answer) for path, answer in paths.items()]))

    async def write(self) -> None:
        async with self.state.transaction() as tx:
            await self.state.dictionary("counts").set(tx, "n", 1)

    async def wait(self) -> None:
        self.asked.set()
        await self.may_go.wait()

    async def writes(self, request: Request) -> PlainTextResponse:
        await self.wait()
        await self.write()
        return PlainTextResponse("written")

    async def twice(self, request: Request) -> PlainTextResponse:
        await self.write()
        return await self.writes(request)

    async def hides(self, request: Request) -> PlainTextResponse:
        try:
            return await self.writes(request)
        except NotPrimaryError:
            return PlainTextResponse("sorry", 500)

    async def breaks(self, request: Request) -> PlainTextResponse:
        await self.wait()
        raise KeyError("a fault of its own")


@pytest.mark.parametrize(
    ("path", "told"),
    [("/writes", (503, NO)), ("/hides", (503, NO)), ("/twice", (503, ENDED)), ("/breaks", (500, None))],
)
async def test_an_error_page_for_a_state_that_is_not_writable_any_more_is_replaced_by_what_became_of_it(
    url: str, coordinator: Coordinator, path: str, told: tuple[int, str | None]
) -> None:
    web: Any = type("Web", (Web,), {"all": []})
    async with host(url, web).lifespan(), httpx2.AsyncClient() as http, asyncio.TaskGroup() as group:
        await until(lambda: web.all and web.all[0].role is Role.PRIMARY, "the primary")
        endpoint = await coordinator.naming.resolve("counts")
        assert endpoint is not None
        answer = group.create_task(http.get(endpoint.address + path))
        (only,) = web.all
        await soon(only.asked.wait())
        only.state.revoke()
        only.may_go.set()
        await soon(asyncio.wait([answer]))
    assert (answer.result().status_code, answer.result().headers.get(ACTIVE)) == told
