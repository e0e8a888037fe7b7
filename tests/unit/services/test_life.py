"""S06, the lives of reliable services: whatever a hook does at one step, every later one is taken, in bounded time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from locum.clock import Clock
from locum.coordination.client import ACTIVE, ENDED, NO, NOT_READY
from locum.coordination.naming import Naming
from locum.errors import (
    ConfigurationError,
    NotPrimaryError,
    OutcomeUnknownError,
    StaleTermError,
    StopTimeoutError,
    StoreUnavailableError,
)
from locum.scopes import Scope, told_by_result
from locum.service import Stopping
from locum.services.asgi import AsgiListener
from locum.services.bodies import Body
from locum.services.gate import Gate
from locum.services.life import Life, Limits, ReliableService
from locum.services.listeners import Listener, Listening, Place
from locum.services.road import Move
from tests.unit.kit import LONG, instance, soon, turns, until
from tests.unit.services.house import House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from locum.testing.instances import Instance

ENOUGH: Final = Limits(start=LONG, stop=LONG)
SHORT: Final = Limits(start=3.0, stop=2.0)
"""For what uses its time up."""


class Bell:
    """A listener that notes what becomes of it, and misbehaves where it is told to."""

    def __init__(self, notes: Notes, name: str) -> None:
        self._notes, self._name = notes, name

    async def open(self) -> str:
        await self._notes.take(f"{self._name} opens")
        return f"bell:{self._name}"

    async def close(self) -> None:
        await self._notes.take(f"{self._name} closes")

    def abort(self) -> None:
        self._notes.steps.append(f"{self._name} aborts")


class Notes(ReliableService):
    """Notes its steps; at one of them it raises, hangs, or ignores that it is cancelled."""

    def __init__(self, at: str = "", misbehaves: str = "raises") -> None:
        self.steps: list[str] = []
        self._at, self._misbehaves = at, misbehaves
        self.go = asyncio.Event()

    async def take(self, step: str) -> None:
        self.steps.append(step)
        if step != self._at:
            return
        if self._misbehaves == "raises":
            raise ValueError(f"boom at {step}")
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                if self._misbehaves == "hangs":
                    raise

    def listeners(self) -> Iterable[Listener | Listening]:
        return Bell(self, "one"), Listening(listener=Bell(self, "two"), name="two")

    async def run(self, stopping: Stopping) -> None:
        self.steps.append("runs")
        try:
            await asyncio.sleep(3600)
        finally:
            await self.take("run ends")

    async def on_open(self) -> None:
        await self.take("on_open")

    async def on_close(self) -> None:
        await self.take("on_close")

    async def on_abort(self) -> None:
        await self.take("on_abort")


class Home(House):
    """A house whose clock goes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: Any = Clock()


class Stage:
    """Lives on one instance."""

    def __init__(self, one: Instance, scope: Scope) -> None:
        self.one, self.house, self.scope = one, Home(), scope
        self.naming = Naming(one.commons)
        self.stopping = Stopping("notes", clock=self.house.clock)

    def life(self, service: Any, limits: Limits = ENOUGH) -> Life:
        return Life(
            service,
            service.run,
            Place(service="notes"),
            limits=limits,
            surroundings=self.house,
            naming=self.naming,
            scope=self.scope,
        )

    def live(self, life: Life) -> Body:
        return Body("notes", life.live(self.stopping, up=Move.OPEN, down=lambda: Move.CLOSE), scope=self.scope)

    async def published(self) -> list[str]:
        return [one.address for one in await self.naming.list("notes")]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with instance(tmp_path / "store.db", "web-1") as one, Scope("notes", on_error=told_by_result) as scope:
        yield Stage(one, scope)


UP = ["one opens", "two opens", "runs", "on_open"]
DOWN = ["two closes", "one closes", "run ends", "on_close"]


async def lived(stage: Stage, service: Notes, limits: Limits = ENOUGH) -> tuple[Life, Body]:
    """A life that is opened, or has failed to be."""
    life = stage.life(service, limits)
    body = stage.live(life)
    await until(lambda: "on_open" in service.steps or body.task.done(), "the way up")
    await turns()
    return life, body


async def test_it_goes_up_and_down_in_order_and_is_published_meanwhile(stage: Stage) -> None:
    service = Notes()
    life, body = await lived(stage, service)
    assert dict(await soon(service.listening)) == {"": "bell:one", "two": "bell:two"}
    assert await stage.published() == ["bell:one", "bell:two"]
    await life.silence(LONG)
    assert await stage.published() == []
    assert service.steps == [*UP, "two closes", "one closes"], "it runs while its listeners are closed"
    await body.end(timeout=5)
    assert service.steps == UP + DOWN
    assert life.errors == []


@pytest.mark.parametrize("misbehaves", ["raises", "hangs", "ignores"])
@pytest.mark.parametrize("at", ["one opens", "two opens", "on_open"])
async def test_s06_whatever_happens_on_the_way_up_it_is_aborted_whole(stage: Stage, at: str, misbehaves: str) -> None:
    service = Notes(at, misbehaves)
    body = stage.live(stage.life(service, ENOUGH if misbehaves == "raises" else SHORT))
    await until(lambda: "on_abort" in service.steps, "the abort")
    service.go.set()  # what ignores its cancellation ends at last
    await soon(body.ended())
    taken = UP[: UP.index(at) + 1]
    aborted = [f"{name} aborts" for name in ("two", "one") if f"{name} opens" in taken]
    ended = ["run ends"] if "runs" in taken else []
    assert service.steps == [*taken, *aborted, *ended, "on_abort"]
    expected = ValueError if misbehaves == "raises" else StopTimeoutError
    assert isinstance(body.error, expected)
    assert await stage.published() == []


@pytest.mark.parametrize("misbehaves", ["raises", "hangs", "ignores"])
@pytest.mark.parametrize("at", DOWN)
async def test_s06_whatever_happens_on_the_way_down_every_later_step_is_taken(
    stage: Stage, at: str, misbehaves: str
) -> None:
    service = Notes(at, misbehaves)
    life, body = await lived(stage, service, ENOUGH if misbehaves == "raises" else SHORT)
    body.task.cancel()
    await until(lambda: "on_close" in service.steps, "the last step")
    await until(lambda: life.errors, "the step to be given up")
    await turns()
    goes_on = not body.task.done()
    service.go.set()
    if misbehaves == "ignores" and "closes" not in at:  # a listener is aborted, and is no work of its term's
        assert goes_on, "what still runs keeps it from ending"
    await soon(body.ended())
    aborted = f"{at.split()[0]} aborts"
    expected = [*UP, *DOWN]
    if "closes" in at:
        expected.insert(expected.index(at) + 1, aborted)
    assert service.steps == expected
    assert len(life.errors) == 1
    assert await stage.published() == []


async def test_s06_all_of_it_goes_wrong_and_all_of_it_is_told(stage: Stage) -> None:
    class Wrong(Notes):
        async def take(self, step: str) -> None:
            self.steps.append(step)
            if step in DOWN:
                raise ValueError(f"boom at {step}")

    service = Wrong()
    life, body = await lived(stage, service)
    body.task.cancel()
    await soon(body.ended())
    assert [step for step in service.steps if "aborts" not in step] == UP + DOWN
    (listeners, *rest) = life.errors
    assert isinstance(listeners, ExceptionGroup)
    assert [str(error) for error in (*listeners.exceptions, *rest)] == [f"boom at {step}" for step in DOWN]


async def test_a_run_that_fails_brings_it_down(stage: Stage) -> None:
    class Fails(Notes):
        async def run(self, stopping: Stopping) -> None:
            await self.take("runs")
            raise KeyError("orders")

    service = Fails()
    life, body = await lived(stage, service)
    await soon(body.ended())
    assert isinstance(body.error, KeyError)
    assert service.steps == [*UP, *(step for step in DOWN if step != "run ends")]
    assert life.errors == []


async def test_a_run_that_returns_goes_on_listening_until_it_is_asked(stage: Stage) -> None:
    class Returns(Notes):
        async def run(self, stopping: Stopping) -> None:
            await self.take("runs")

    service = Returns()
    _, body = await lived(stage, service)
    assert not body.task.done()
    assert len(await stage.published()) == 2
    stage.stopping.ask_to_stop(within=5)
    await soon(body.ended())
    assert body.error is None
    assert service.steps == [*UP, *(step for step in DOWN if step != "run ends")]


async def test_a_second_cancellation_does_not_cut_the_way_down_short(stage: Stage) -> None:
    class Slow(Notes):
        async def take(self, step: str) -> None:
            self.steps.append(step)
            if step == "run ends":
                await self.go.wait()

    service = Slow()
    _, body = await lived(stage, service)
    body.task.cancel()
    await until(lambda: "run ends" in service.steps, "the end of the run")
    body.task.cancel()
    await turns()
    service.go.set()
    await soon(body.ended())
    assert service.steps == UP + DOWN


# -- an ASGI listener


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An application."""
    del receive
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def test_a_web_listener_answers_not_ready_until_it_is_opened(stage: Stage) -> None:
    may_open = asyncio.Event()

    class Web(ReliableService):
        def listeners(self) -> Iterable[Listener]:
            yield AsgiListener(hello)

        async def run(self, stopping: Stopping) -> None: ...

        async def on_open(self) -> None:
            await may_open.wait()

    service = Web()
    body = stage.live(stage.life(service))
    address = (await soon(service.listening))[""]
    async with httpx2.AsyncClient() as client:
        early = await client.get(address + "/orders")
        assert (early.status_code, early.headers.get(ACTIVE)) == (503, NOT_READY)
        assert int(early.headers["Retry-After"]) >= 1
        may_open.set()
        late = early
        async with asyncio.timeout(LONG):
            while late.status_code != 200:
                late = await client.get(address + "/orders")
        assert late.text == "/orders"
    await body.end(timeout=5)
    with pytest.raises(httpx2.ConnectError):
        async with httpx2.AsyncClient() as client:
            await client.get(address)


async def test_listeners_that_nobody_could_tell_apart_are_not_opened(stage: Stage) -> None:
    class Web(Notes):
        def listeners(self) -> Iterable[Listener | Listening]:
            return Bell(self, "one"), Bell(self, "two")

    service = Web()
    _, body = await lived(stage, service)
    assert isinstance(body.error, ConfigurationError)
    assert "cannot be told apart" in str(body.error)
    assert service.steps == ["on_abort"]


async def test_an_address_of_another_replica_is_not_served_by_who_listens_on_its_port_now() -> None:
    gate = Gate(hello)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gate), base_url="http://one") as client:
        gate.await_readiness("/0/new/5f")
        gate.open()
        assert (await client.get("/0/new/5f/orders")).text == "/orders"
        assert (await client.get("/0/new/5f")).text == "/"
        for old in ("/0/old/4e/orders", "/0/new/5fa/orders", "/orders"):
            refused = await client.get(old)
            assert (refused.status_code, refused.headers.get(ACTIVE)) == (503, NO)
        gate.close()
        assert (await client.get("/0/new/5f/orders")).headers[ACTIVE] == NO


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotPrimaryError("counts/0", "it is secondary"), NO),
        (StaleTermError("partition/counts/0", 1, 2), NO),
        (StoreUnavailableError("sqlite", "it is away"), NOT_READY),
        (OutcomeUnknownError("sqlite", "commit"), ENDED),
    ],
)
async def test_what_a_state_could_not_commit_is_told_as_what_became_of_it(
    stage: Stage, error: Exception, told: str
) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise error

    gate = Gate(fails)
    gate.open(await soon(stage.one.election("counts").win()))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gate), base_url="http://one") as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.headers[ACTIVE]) == (503, told)
