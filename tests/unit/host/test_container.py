"""Collaborators by type: how long they live, in which order they go, and what is refused before anything starts."""

from __future__ import annotations

import collections.abc as abc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from locum.context import Context
from locum.coordination.term import Term
from locum.errors import ConfigurationError
from locum.host.container import Container
from locum.host.host import Host
from locum.service import Stopping
from locum.services.active_passive import ActivePassiveService
from tests.unit.kit import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

steps: list[str] = []


class Engine:
    pass


class Orders:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine


class Mail:
    pass


@pytest.fixture(autouse=True)
def _no_steps() -> None:
    steps.clear()


@pytest.fixture
async def container() -> Container:
    return Container()


def make_engine() -> Engine:
    steps.append("engine")
    return Engine()


async def make_orders(engine: Engine) -> Orders:
    steps.append("orders")
    return Orders(engine)


# the library reads these annotations when the program runs
make_engine.__annotations__["return"] = Engine
make_orders.__annotations__.update({"engine": Engine, "return": Orders})


async def body(stopping: Stopping, orders: Orders) -> Orders:
    return orders


body.__annotations__.update({"stopping": Stopping, "orders": Orders})


def stopping() -> Stopping:
    return Stopping("test", clock=ManualClock())


async def test_a_body_is_given_its_context_and_what_it_asks_for(container: Container) -> None:
    container.provide(make_engine, "host")
    container.provide(make_orders, "host")
    first = await container.call(body, stopping())
    second = await container.call(body, stopping())
    assert isinstance(first, Orders)
    assert first is second
    assert steps == ["engine", "orders"]
    await container.close()


async def test_what_lives_for_a_run_is_made_for_each_run(container: Container) -> None:
    container.provide(make_engine, "host")
    container.provide(make_orders, "run")
    first, second = await container.call(body, stopping()), await container.call(body, stopping())
    assert isinstance(first, Orders)
    assert isinstance(second, Orders)
    assert first is not second
    assert first.engine is second.engine
    await container.close()


async def test_what_lives_for_a_tick_is_made_for_each_call_of_one_run(container: Container) -> None:
    def engine() -> Iterator[Engine]:
        yield Engine()
        steps.append("engine closed")

    def orders() -> Iterator[Orders]:
        yield Orders(Engine())
        steps.append("orders closed")

    async def tick(orders: Orders, engine: Engine) -> tuple[Orders, Engine]:
        return orders, engine

    engine.__annotations__["return"] = abc.Iterator[Engine]
    orders.__annotations__["return"] = abc.Iterator[Orders]
    tick.__annotations__.update({"orders": Orders, "engine": Engine})
    container.provide(engine, "run")
    container.provide(orders, "tick")
    container.check([tick])
    async with container.run() as call:
        first = await call(tick)
        second = await call(tick)
        assert steps == ["orders closed", "orders closed"]
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert first[0] is not second[0]
    assert first[1] is second[1]
    assert steps[2:] == ["engine closed"]
    await container.close()


async def test_a_class_is_its_own_factory(container: Container) -> None:
    container.provide(Engine, "host")
    assert isinstance(await container.get(Engine), Engine)
    await container.close()


async def test_everything_is_finalized_in_reverse_order(container: Container) -> None:
    def engine() -> Iterator[Engine]:
        steps.append("engine")
        yield Engine()
        steps.append("engine closed")

    async def orders(engine: Engine) -> AsyncIterator[Orders]:
        steps.append("orders")
        yield Orders(engine)
        steps.append("orders closed")

    engine.__annotations__["return"] = abc.Iterator[Engine]
    orders.__annotations__.update({"engine": Engine, "return": abc.AsyncIterator[Orders]})
    container.provide(engine, "host")
    container.provide(orders, "host")
    container.check([body])
    await container.call(body, stopping())
    assert steps == ["engine", "orders"]
    await container.close()
    assert steps == ["engine", "orders", "orders closed", "engine closed"]


async def test_what_lived_for_a_run_is_finalized_after_it_even_if_it_failed(container: Container) -> None:
    async def orders() -> AsyncIterator[Orders]:
        yield Orders(Engine())
        steps.append("orders closed")

    async def fails(orders: Orders) -> None:
        steps.append("run")
        raise ValueError("boom")

    orders.__annotations__["return"] = abc.AsyncIterator[Orders]
    fails.__annotations__["orders"] = Orders
    container.provide(orders, "run")
    with pytest.raises(ValueError, match="boom"):
        await container.call(fails)
    assert steps == ["run", "orders closed"]
    await container.close()


async def test_a_service_is_built_with_its_collaborators(container: Container) -> None:
    class Settlement:
        def __init__(self, orders: Orders) -> None:
            self.orders = orders

    Settlement.__init__.__annotations__["orders"] = Orders
    container.provide(make_engine, "host")
    container.provide(make_orders, "host")
    container.add_class(Settlement)
    container.check([])
    built = await container.build(Settlement)
    assert built.orders is await container.get(Orders)
    await container.close()


async def test_a_service_without_a_constructor_asks_for_nothing(container: Container) -> None:
    container.add_class(Mail)
    container.check([])
    assert isinstance(await container.build(Mail), Mail)


async def test_a_parameter_without_a_type_is_the_context(container: Container) -> None:
    given = stopping()

    async def untyped(context: Any) -> object:
        return context

    untyped.__annotations__.clear()
    container.check([untyped])
    assert await container.call(untyped, given) is given


async def test_a_body_that_asks_for_nothing_is_called_with_nothing(container: Container) -> None:
    async def alone() -> str:
        return "done"

    container.check([alone])
    assert await container.call(alone, stopping()) == "done"


async def test_closing_what_was_never_used_is_harmless(container: Container) -> None:
    container.provide(make_engine, "host")
    await container.close()
    assert steps == []


# -- refused before anything starts


def test_what_nobody_provides_is_told_with_who_asks_for_it() -> None:
    container = Container()
    container.provide(make_engine, "host")
    with pytest.raises(ConfigurationError, match=r"body asks for Orders \('orders'\), and nothing provides it"):
        container.check([body])


def test_a_class_that_asks_for_what_nobody_provides_is_told_too() -> None:
    class Settlement:
        def __init__(self, mail: Mail) -> None: ...

    Settlement.__init__.__annotations__["mail"] = Mail
    container = Container()
    container.add_class(Settlement)
    with pytest.raises(ConfigurationError, match="asks for Mail"):
        container.check([])


def test_a_second_parameter_without_a_type_is_told() -> None:
    async def two(context: Any, other: Any) -> None: ...

    two.__annotations__.clear()
    with pytest.raises(ConfigurationError, match="has a parameter 'other' without a type"):
        Container().check([two])


def test_contexts_are_no_collaborators() -> None:
    async def both(term: Term, context: Context) -> None: ...

    both.__annotations__.update({"term": Term, "context": Context})
    Container().check([both])


def test_a_factory_without_a_return_annotation_is_told() -> None:
    def make():  # type: ignore[no-untyped-def]
        return Engine()

    with pytest.raises(ConfigurationError, match="make must say by a return annotation what it provides"):
        Container().provide(make, "host")


def test_an_annotation_that_is_not_there_at_run_time_is_told_with_what_to_do() -> None:
    def make() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return None

    with pytest.raises(ConfigurationError, match="name 'Nowhere', which is not there when the program runs"):
        Container().provide(make, "host")


def test_an_unknown_lifetime_is_told() -> None:
    with pytest.raises(ConfigurationError, match="a lifetime is one of host, run, tick, not 'for ever'"):
        Container().provide(make_engine, "for ever")  # type: ignore[arg-type]


async def test_collaborators_that_do_not_fit_together_are_told() -> None:
    container = Container()
    container.provide(make_orders, "host")  # and nothing provides its engine
    with pytest.raises(ConfigurationError, match="the collaborators do not fit together"):
        await container.get(Orders)


def test_the_library_is_loaded_when_it_is_needed() -> None:
    program = """
import asyncio, sys
from locum.host.container import Container
container = Container()
container.provide(dict, "host")
async def alone() -> None: ...
async def main():
    container.check([alone])
    await container.call(alone)
    await container.close()
asyncio.run(main())
assert "dishka" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# -- how long things live, and what may be left out


class Cursor:
    def __init__(self, engine: Engine, size: int = 100) -> None:
        self.engine, self.size = engine, size


Cursor.__init__.__annotations__.update({"engine": Engine, "size": int})


def test_the_method_of_a_service_that_asks_for_what_nobody_provides_is_told() -> None:
    class Settlement(ActivePassiveService):
        async def run_active(self, term: Term, mail: Mail) -> None: ...  # type: ignore[override]

    Settlement.run_active.__annotations__.update({"term": Term, "mail": Mail})
    host = Host("billing")
    host.add(Settlement)
    with pytest.raises(ConfigurationError, match=r"run_active asks for Mail \('mail'\), and nothing provides"):
        host.plan.container.check(host.plan.declarations[0].bodies)


def test_a_service_that_outlives_its_collaborator_is_told_before_it_starts() -> None:
    class Settlement:
        def __init__(self, mail: Mail) -> None: ...

    Settlement.__init__.__annotations__["mail"] = Mail
    container = Container()
    container.provide(Mail, "run")
    container.add_class(Settlement)
    with pytest.raises(ConfigurationError, match=r"lives as long as the host and asks for Mail .* for one run only"):
        container.check([])


def test_a_collaborator_that_outlives_its_own_is_told_too() -> None:
    container = Container()
    container.provide(make_engine, "tick")
    container.provide(make_orders, "run")
    with pytest.raises(ConfigurationError, match=r"lives as long as the run and asks for Engine .* for one tick only"):
        container.check([])


def test_what_a_collaborator_lacks_is_told_at_the_check() -> None:
    container = Container()
    container.provide(make_orders, "host")
    with pytest.raises(ConfigurationError, match="make_orders asks for Engine"):
        container.check([])


def test_a_circle_is_told_with_its_way() -> None:
    def make_mail(orders: Orders) -> Mail:
        raise NotImplementedError

    def orders_of_mail(mail: Mail) -> Orders:
        raise NotImplementedError

    make_mail.__annotations__.update({"orders": Orders, "return": Mail})
    orders_of_mail.__annotations__.update({"mail": Mail, "return": Orders})
    container = Container()
    container.provide(make_mail, "host")
    container.provide(orders_of_mail, "host")
    with pytest.raises(ConfigurationError, match="in a circle: Mail -> Orders -> Mail: break it"):
        container.check([])


async def test_a_default_is_kept_where_nothing_is_provided() -> None:
    container = Container()
    container.provide(make_engine, "host")
    container.provide(Cursor, "host")

    async def asks(cursor: Cursor, mail: Mail | None = None) -> object:
        return cursor.size, mail

    asks.__annotations__.update({"cursor": Cursor, "mail": Mail})
    container.add_class(Cursor)
    container.check([asks])
    assert await container.call(asks) == (100, None)
    assert (await container.build(Cursor)).size == 100
    await container.close()


async def test_a_default_gives_way_to_what_is_provided() -> None:
    def size() -> int:
        return 7

    async def make(engine: Engine, size: int = 100) -> AsyncIterator[Cursor]:
        yield Cursor(engine, size)
        steps.append("cursor closed")

    size.__annotations__["return"] = int
    make.__annotations__.update({"engine": Engine, "size": int, "return": abc.AsyncIterator[Cursor]})
    for others, expected in (([], 100), ([size], 7)):
        container = Container()
        container.provide(make_engine, "host")
        container.provide(make, "host")
        for other in others:
            container.provide(other, "host")
        container.check([])
        assert (await container.get(Cursor)).size == expected
        await container.close()
    assert steps.count("cursor closed") == 2
