"""Plain functions as bodies: what they are given, in which thread, and what is refused before anything starts."""

from __future__ import annotations

import asyncio
import collections.abc as abc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from locum import ActivePassiveService, BackgroundService, Standby, Stopping, Term, blocking
from locum.context import Context
from locum.errors import ConfigurationError
from locum.host.container import Container
from locum.host.plain import facade_of, is_plain
from tests.unit.kit import ManualClock, soon, until

if TYPE_CHECKING:
    from collections.abc import Iterator

steps: list[str] = []


class Orders:
    pass


@pytest.fixture
async def container() -> Container:
    steps.clear()
    container = Container()
    container.provide(make_orders, "tick")
    return container


def make_orders() -> Iterator[Orders]:
    yield Orders()
    steps.append("orders closed")


def body(stopping: blocking.Stopping, orders: Orders) -> tuple[object, ...]:
    steps.append("body")
    return stopping, orders, threading.current_thread()


async def asynchronous() -> None: ...


class Methods:
    def plain(self) -> None: ...
    async def asynchronous(self) -> None: ...


# the library reads these annotations when the program runs
make_orders.__annotations__["return"] = abc.Iterator[Orders]


def stopping() -> Stopping:
    return Stopping("test", clock=ManualClock())


def test_what_is_no_async_def_is_plain() -> None:
    assert is_plain(body)
    assert is_plain(Methods().plain)
    assert not is_plain(asynchronous)
    assert not is_plain(Methods().asynchronous)


async def test_each_context_has_its_facade() -> None:
    class Special(Stopping):
        pass

    clock = ManualClock()
    assert type(facade_of(Stopping("test", clock=clock))) is blocking.Stopping
    assert type(facade_of(Special("test", clock=clock))) is blocking.Stopping
    assert type(facade_of(Standby("test", clock=clock))) is blocking.Standby
    assert type(facade_of(Context("test", clock=clock))) is blocking.Context
    assert facade_of(steps) is steps


async def test_a_plain_body_is_called_in_a_thread_with_the_facade_and_what_it_asks_for(container: Container) -> None:
    container.check([body])
    found = await soon(container.call(body, stopping()))
    assert isinstance(found, tuple)
    given, orders, thread = found
    assert isinstance(given, blocking.Stopping)
    assert isinstance(orders, Orders)
    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon) == ("body body", True)
    assert steps == ["body", "orders closed"]
    await until(lambda: not thread.is_alive(), "the end of the run's thread")


async def test_the_ticks_of_one_run_share_a_thread_and_those_of_two_do_not(container: Container) -> None:
    threads = []
    for _ in range(2):
        async with container.run() as call:
            for _ in range(2):
                found: Any = await soon(call(body, stopping()))
                threads.append(found[2])
    assert steps == ["body", "orders closed"] * 4
    assert threads[0] is threads[1]
    assert threads[2] is threads[3]
    assert threads[0] is not threads[2]


async def test_what_lives_for_a_tick_is_finalized_after_the_thread_has_ended_it(container: Container) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(orders: Orders) -> None:
        begun.set()
        go.wait()
        steps.append("slow ended")

    slow.__annotations__["orders"] = Orders
    calling = asyncio.ensure_future(container.call(slow))
    await until(begun.is_set, "the body")
    calling.cancel()
    go.set()
    await soon(asyncio.wait([calling]))
    assert calling.cancelled()
    assert steps == ["slow ended", "orders closed"]


@pytest.mark.parametrize("how", ["untyped", "any"])
async def test_a_parameter_without_a_type_is_the_facade(container: Container, how: str) -> None:
    def untyped(context: Any) -> object:
        return context

    untyped.__annotations__.clear()
    if how == "any":
        untyped.__annotations__["context"] = Any
    container.check([untyped])
    assert isinstance(await soon(container.call(untyped, stopping())), blocking.Stopping)


async def test_a_plain_function_that_returns_what_nobody_awaits_has_failed(container: Container) -> None:
    def wrapper() -> Any:
        return asynchronous()

    with pytest.raises(
        TypeError, match=r"wrapper is a plain def and returned something to be awaited: write async def"
    ):
        await soon(container.call(wrapper))


def asks(kind: type, *, plain: bool) -> Any:
    def settle(term: Any) -> None: ...

    async def settle_async(term: Any) -> None: ...

    asking = settle if plain else settle_async
    asking.__annotations__["term"] = kind
    return asking


@pytest.mark.parametrize("kind", [Term, Standby, Stopping, Context])
def test_each_sort_of_body_is_refused_the_context_of_the_other(kind: type[Context]) -> None:
    facade = getattr(blocking, kind.__name__)
    Container().check([asks(kind, plain=False), asks(facade, plain=True)])
    with pytest.raises(ConfigurationError) as refused:
        Container().check([asks(kind, plain=True)])
    assert str(refused.value).endswith(
        f"settle is a plain def and asks for locum.{kind.__name__} ('term'): a plain def is given"
        f" locum.blocking.{kind.__name__}: annotate it so, or write an async def"
    )
    with pytest.raises(ConfigurationError, match=rf"an async def is given locum\.{kind.__name__}: annotate it so, or"):
        Container().check([asks(facade, plain=False)])


def test_the_methods_of_services_are_checked_too() -> None:
    from locum import Host

    class Settlement(ActivePassiveService):
        def run_active(self, term: Any) -> None: ...
        async def run_passive(self, standby: Any) -> None: ...

    class Metrics(BackgroundService):
        def run(self, stopping: Any) -> None: ...

    Settlement.run_active.__annotations__["term"] = blocking.Term
    Settlement.run_passive.__annotations__["standby"] = Standby
    Metrics.run.__annotations__["stopping"] = Stopping
    host = Host("billing")
    host.add(Settlement)
    host.add(Metrics())
    (first, second) = host.plan.declarations
    Container().check(first.bodies)
    with pytest.raises(ConfigurationError, match=r"Metrics\.run is a plain def and asks for locum\.Stopping"):
        Container().check(second.bodies)
