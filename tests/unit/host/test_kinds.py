"""Every kind of body in a host: declared as a function or a class, on all instances or on the active one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from locum import ConsumerService, Host, PeriodicService, Restart, Stopping, Term, WorkQueue, blocking
from locum.errors import ConfigurationError, WorkQueueFullError
from locum.services.active_passive import ActivePassiveService
from locum.services.background import BackgroundService
from tests.unit.kit import until

if TYPE_CHECKING:
    from pathlib import Path

BOTH = pytest.mark.parametrize("active_passive", [False, True])


class Orders:
    """A collaborator."""


class Messages:
    """A source."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._left = ["a", "b"]

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self._left:
            await asyncio.Event().wait()
        return self._left.pop(0)

    async def ack(self, message: str) -> None:
        self.said.append(f"ack {message}")

    async def nack(self, message: str) -> None:
        self.said.append(f"nack {message}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host("billing", store=f"sqlite:///{tmp_path}/store.db", ttl=20)
    host.provide(Orders)
    return host


def context_of(active_passive: bool) -> type:
    return Term if active_passive else Stopping


@BOTH
async def test_periodic_as_a_function(host: Host, active_passive: bool) -> None:
    seen: list[Any] = []

    @host.periodic(every=0.01, active_passive=active_passive)
    async def tick(context: Term if active_passive else Stopping, orders: Orders) -> None:  # type: ignore[valid-type]
        seen.append((type(context), orders))

    tick.__annotations__["context"] = context_of(active_passive)
    async with host.lifespan():
        await until(lambda: len(seen) > 2, "turns")
    assert {kind for kind, _ in seen} == {context_of(active_passive)}
    assert isinstance(seen[0][1], Orders)


@BOTH
async def test_periodic_as_a_class(host: Host, active_passive: bool) -> None:
    seen: list[type] = []

    class Refresh(PeriodicService):
        every = 0.01

        def __init__(self, orders: Orders) -> None:
            self.orders = orders

        async def tick(self, context: Any) -> None:
            seen.append(type(context))

    host.add(Refresh, active_passive=active_passive)
    async with host.lifespan():
        await until(lambda: len(seen) > 2, "turns")
    assert set(seen) == {context_of(active_passive)}


@BOTH
@pytest.mark.parametrize("how", ["object", "function", "type"])
async def test_consumer_as_a_function(host: Host, active_passive: bool, how: str) -> None:
    messages, seen = Messages(), list[Any]()

    def of_orders(orders: Orders) -> Messages:
        seen.append(orders)
        return messages

    def provided() -> Messages:
        return messages

    host.provide(provided)
    source = {"object": messages, "function": of_orders, "type": Messages}[how]

    @host.consumer(source, active_passive=active_passive)
    async def handle(message: str, orders: Orders) -> None:
        seen.append(orders)

    async with host.lifespan():
        await until(lambda: len(messages.said) == 2, "two messages")
    assert messages.said == ["ack a", "ack b"]
    assert all(isinstance(one, Orders) for one in seen)


@BOTH
async def test_consumer_as_a_class(host: Host, active_passive: bool) -> None:
    messages, seen = Messages(), list[type]()

    class Inbox(ConsumerService):
        workers = 2

        def source(self) -> Messages:
            return messages

        async def handle(self, message: str, context: Any) -> None:
            seen.append(type(context))

    host.add(Inbox, active_passive=active_passive)
    async with host.lifespan():
        await until(lambda: len(messages.said) == 2, "two messages")
    assert set(seen) == {context_of(active_passive)}
    assert host.plan.declarations[0].workers == 2


@BOTH
async def test_a_queue_is_emptied_after_those_that_fill_it_have_stopped(host: Host, active_passive: bool) -> None:
    done: list[int] = []

    @host.queue(size=2, active_passive=active_passive)
    async def mails(item: int, orders: Orders) -> None:
        await asyncio.sleep(0.01)
        done.append(item)

    assert isinstance(mails, WorkQueue)
    put: list[int] = []

    @host.background(after=[mails])
    async def fill(stopping: Stopping) -> None:
        async for turn in stopping.every(0.001):
            await mails.put(turn)
            put.append(turn)

    async with host.lifespan():
        await until(lambda: len(done) > 3, "some items")
    assert done == put


async def test_a_plain_body_fills_a_queue_and_its_stop_does_not_wait_for_room(host: Host) -> None:
    """One item is with its handler, for ever, and one waits: nobody makes room for a third."""
    begun: list[int] = []
    said: list[str] = []

    @host.queue(size=1, active_passive=True, stop_timeout=1)
    async def mails(item: int) -> None:
        await asyncio.Event().wait()

    @host.background(after=[mails], stop_timeout=15)
    def fill(stopping: blocking.Stopping) -> None:
        for turn in stopping.every(0.001):
            begun.append(turn)
            try:
                mails.put_blocking(turn)
            except WorkQueueFullError as error:
                said.append(str(error))

    async with host.lifespan():
        await until(lambda: len(begun) == 3, "one for whom there is no room")
    assert said == [
        "mails had no room for the item before its caller was asked to end: 1 wait already. It was not taken in"
    ]


@BOTH
async def test_each_run_and_each_term_has_collaborators_of_its_own(host: Host, active_passive: bool) -> None:
    """They are made anew, and those of the run before have been finalized then."""
    told: list[str] = []

    class Session: ...

    async def open_session() -> AsyncIterator[Session]:
        number = told.count("open") + 1
        told.append("open")
        yield Session()
        told.append(f"close {number}")

    open_session.__annotations__["return"] = AsyncIterator[Session]
    seen: list[Session] = []

    async def body(context: Term if active_passive else Stopping, session: Session) -> None:  # type: ignore[valid-type]
        seen.append(session)
        if len(seen) < 3:
            raise ValueError("boom")
        await context.sleep(3600)

    body.__annotations__.update(context=context_of(active_passive), session=Session)
    host.provide(open_session, lifetime="run")
    declare = host.active_passive if active_passive else host.background
    declare(restart=Restart(first=0.01, last=0.01))(body)
    async with host.lifespan():
        await until(lambda: len(seen) == 3, "the third run")
    assert len(set(map(id, seen))) == 3
    assert told == ["open", "close 1", "open", "close 2", "open", "close 3"]


async def test_what_comes_after_a_class_or_a_function_may_say_so_by_it(host: Host) -> None:
    class Database(BackgroundService):
        async def run(self, stopping: Stopping) -> None: ...

    host.add(Database)

    @host.background(after=[Database])
    async def reads(stopping: Stopping) -> None: ...

    @host.background(after=[reads, "database"])
    async def last(stopping: Stopping) -> None: ...

    assert host.plan.order.startable({"database"}, {"database"}) == ["reads"]
    assert host.plan.order.startable({"database", "reads"}, {"database"}) == []
    host.background(name="other", after=[len])(reads)
    with pytest.raises(ConfigurationError, match="which was not given to this host"):
        host.plan.check(host.settings)


def test_a_stop_takes_as_long_as_its_longest_chain_or_as_the_host_says(host: Host) -> None:
    async def nothing(stopping: Stopping) -> None: ...

    host.background(name="a", stop_timeout=10)(nothing)
    host.background(name="b", stop_timeout=20, after=["a"])(nothing)
    host.background(name="c", stop_timeout=25)(nothing)
    settings = host.settings
    assert host.plan.stop_limit(settings) == 35
    with pytest.raises(ConfigurationError, match="drain_delay of 12 s and stops within 12 s"):
        host.plan.check(replace(settings, stop_timeout=12.0, drain_delay=12.0))


def test_what_cannot_be_is_refused_while_it_is_declared(host: Any) -> None:
    async def body(term: Term) -> None: ...

    def plain(stopping: object) -> None: ...

    class NoRhythm(PeriodicService):
        async def tick(self, context: Any) -> None: ...

    class Everywhere(BackgroundService): ...

    class One(ActivePassiveService): ...

    for wrong, words in (
        (lambda: host.active_passive(completion="stop_host")(body), "cannot be for an active-passive service"),
        (lambda: host.background(completion="explode")(body), "is not known"),
        (lambda: host.background(start_timeout=0)(body), "start_timeout=0 must be a number of seconds"),
        (lambda: host.background(restart="perhaps")(body), "restart='perhaps' is not known"),
        (lambda: host.periodic(every=1, limit=1)(plain), "nobody can end a thread"),
        (lambda: host.consumer(Messages(), workers=0)(body), "at least one message"),
        (lambda: host.add(NoRhythm), "NoRhythm does not say how often"),
        (lambda: host.add(Everywhere, active_passive=True), "derive it from ActivePassiveService"),
        (lambda: host.background(name="a", group="no name")(body), "group"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            wrong()  # type: ignore[no-untyped-call]
    assert host.plan.declarations == []
    host.add(One)
    host.background(restart=Restart(most=3))(body)
    assert [one.restart.most for one in host.plan.declarations] == [10, 3]
