"""Stateless services in a host: on every instance or on a number of them, from one life to the next."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx2
import pytest

from locum import Host, StatelessService, Stopping
from locum.coordination.coordinator import Coordinator
from locum.errors import ConfigurationError
from locum.services.asgi import AsgiListener
from tests.unit.kit import until
from tests.unit.services.test_life import hello

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from locum.services.listeners import Listener


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def host(url: str, name: str = "web-1") -> Host:
    return Host("billing", store=url, instance=name)


class Notes(StatelessService):
    """Notes the lives of all its objects."""

    lives: list[list[str]]

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.lives.append(self.steps)

    async def on_open(self) -> None:
        self.steps.append("opens")

    async def on_close(self) -> None:
        self.steps.append("closes")

    async def on_abort(self) -> None:
        self.steps.append("aborts")


def fresh(of: type[Notes]) -> type[Notes]:
    """The same class with notes of its own."""
    return type(of.__name__, (of,), {"lives": []})


async def test_it_opens_listens_and_closes_with_its_host(url: str) -> None:
    class Web(Notes):
        def listeners(self) -> Iterable[Listener]:
            yield AsgiListener(hello)

    web = fresh(Web)
    one = host(url)
    one.add(web)
    async with one.lifespan(), Coordinator.connect(url, namespace="billing") as coordinator:
        (endpoint,) = await coordinator.naming.list("web")
        assert (endpoint.instance, endpoint.token, endpoint.partition) == ("web-1", None, "")
        async with httpx2.AsyncClient() as client:
            assert (await client.get(endpoint.address + "/orders")).text == "/orders"
    assert web.lives == [["opens", "closes"]]


async def test_a_run_that_fails_is_told_and_a_new_object_lives_after_a_pause(url: str) -> None:
    class Fails(Notes):
        async def run(self, stopping: Stopping) -> None:
            if len(self.lives) == 1:
                raise ValueError("boom")
            self.steps.append("runs")
            await stopping.sleep(3600)
            self.steps.append("ends by itself")

    fails = fresh(Fails)
    one = host(url)
    one.add(fails)
    async with one.lifespan():
        await until(lambda: len(fails.lives) == 2 and "opens" in fails.lives[1], "the second life")
        assert one.plan.health is not None
        picture = one.plan.health.picture()["services"]["fails"]
        assert (picture["error"], picture["restarts"]) == ("ValueError: boom", 1)
    first, second = fails.lives
    assert first[-1] in ("closes", "aborts")
    assert second == ["runs", "opens", "ends by itself", "closes"]


async def test_a_run_that_returns_is_fine(url: str) -> None:
    class Returns(Notes):
        async def run(self, stopping: Stopping) -> None:
            self.steps.append("runs")

    returns = fresh(Returns)
    one = host(url)
    one.add(returns)
    async with one.lifespan():
        await until(lambda: returns.lives and returns.lives[0][-1] == "closes", "its end")
        assert one.plan.health is not None
        assert one.plan.health.is_ready
    assert returns.lives == [["runs", "opens", "closes"]]


async def test_it_lives_on_as_many_instances_as_it_says_and_on_another_when_one_goes(url: str) -> None:
    class Few(Notes):
        instances = 1

        async def run(self, stopping: Stopping) -> None:
            await stopping.sleep(3600)

    few = fresh(Few)
    first, second = host(url), host(url, "web-2")
    first.add(few)
    second.add(few)
    async with AsyncExitStack() as later:
        async with first.lifespan():
            await until(lambda: few.lives and "opens" in few.lives[0], "the first")
            await later.enter_async_context(second.lifespan())
            health = second.plan.health
            assert health is not None
            await until(lambda: health.is_standby("few"), "the second to wait")
            assert len(few.lives) == 1
        await until(lambda: len(few.lives) == 2 and "opens" in few.lives[1], "the second")
    assert few.lives == [["opens", "closes"], ["opens", "closes"]]


async def test_s06_what_goes_wrong_at_the_end_is_told_as_one(url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Notes):
        async def run(self, stopping: Stopping) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                raise KeyError("run")

        async def on_close(self) -> None:
            raise ValueError("close")

    wrong = fresh(Wrong)
    one = host(url)
    one.add(wrong)
    async with one.lifespan():
        await until(lambda: wrong.lives and "opens" in wrong.lives[0], "its life")
    (told,) = [record for record in caplog.records if "did not end as it should" in record.getMessage()]
    assert told.getMessage() == "wrong did not end as it should (2 sub-exceptions)"


async def test_an_object_of_it_cannot_be_added(url: str) -> None:
    class Web(StatelessService): ...

    with pytest.raises(ConfigurationError, match="as a class"):
        host(url).add(Web())
