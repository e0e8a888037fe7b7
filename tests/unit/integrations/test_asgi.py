"""A web application as a service of the host, a host in a web application, and its health there."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from locum import BackgroundService, Host, Stopping, Term
from locum.errors import ConfigurationError, StartError
from locum.integrations.asgi import AsgiService, HealthApp
from tests.unit.kit import soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starlette.requests import Request


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("billing", store=f"sqlite:///{tmp_path / 'store.db'}", instance="web-1")


async def get(port: int, path: str) -> tuple[int, str]:
    """The code and the body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = (await soon(reader.read())).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def steps_of(steps: list[str], name: str) -> type[BackgroundService]:
    """A service that notes when it is started and when it is stopped."""

    class Noted(BackgroundService):
        async def start(self) -> None:
            steps.append(f"{name} starts")

        async def run(self, stopping: Stopping) -> None:
            steps.append(f"{name} runs")
            try:
                await asyncio.sleep(3600)
            finally:
                steps.append(f"{name} ends")

    return Noted


# -- a web application as a service


async def port_of(service: AsgiService) -> int:
    await until(lambda: service.address, "the application to listen")
    assert service.address
    return service.address[1]


async def test_it_opens_after_all_others_and_closes_before_them_and_answers_what_it_has(host: Host) -> None:
    steps: list[str] = []
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> PlainTextResponse:
        asked.set()
        await may_answer.wait()
        steps.append("answered")
        return PlainTextResponse("late\n")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        steps.append("application begins")
        yield
        steps.append("application ends")

    service = AsgiService(Starlette(routes=[Route("/", slow)], lifespan=lifespan), port=0)
    host.add(service, name="web")
    host.add(steps_of(steps, "orders"), name="orders")  # declared after it, and there before it all the same
    async with asyncio.TaskGroup() as group, host.lifespan():
        port = await port_of(service)
        answer = group.create_task(get(port, "/"))
        await soon(asked.wait())
        asyncio.get_running_loop().call_later(0.3, may_answer.set)
    assert answer.result() == (200, "late\n")
    assert steps == [
        "orders starts",
        "orders runs",
        "application begins",
        "answered",
        "application ends",
        "orders ends",
    ]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_what_is_not_answered_in_its_time_is_cut_off(host: Host) -> None:
    asked = asyncio.Event()

    async def never(request: Request) -> PlainTextResponse:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    service = AsgiService(Starlette(routes=[Route("/", never)]), port=0, drain=1)
    host.add(service)
    async with host.lifespan():
        reader, writer = await asyncio.open_connection("127.0.0.1", await port_of(service))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await soon(asked.wait())
    answer = await soon(reader.read())
    assert not answer.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_signals_stay_the_hosts(host: Host) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    service = AsgiService(Starlette(), port=0)
    host.add(service)
    async with host.lifespan():
        await port_of(service)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_port_in_use_fails_the_start_in_one_sentence(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        host.add(AsgiService(Starlette(), port=port), name="web")
        with pytest.raises(
            StartError, match=rf"web did not start: .*cannot listen on 127\.0\.0\.1:{port}: "
        ) as failure:
            async with host.lifespan():
                raise AssertionError
    assert isinstance(failure.value.__cause__, ConfigurationError)


async def test_a_lifespan_that_fails_is_the_services_failure(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("no table")
        yield

    service = AsgiService(Starlette(lifespan=lifespan), port=0)
    host.add(service, name="web")
    async with host.lifespan():
        await port_of(service)  # the next run takes the port anew
    assert "the application did not start: its lifespan failed" in caplog.text


# -- a host in a web application


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """An application's lifespan, as a server runs it."""
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    incoming.put_nowait({"type": "lifespan.startup"})
    task = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, incoming.get, said.put)
    )
    assert (await soon(said.get()))["type"] == "lifespan.startup.complete"
    yield
    incoming.put_nowait({"type": "lifespan.shutdown"})
    assert (await soon(said.get()))["type"] == "lifespan.shutdown.complete"
    await task


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_the_hosts_lifespan_is_the_applications(host: Host, kind: Callable[..., Any]) -> None:
    steps: list[str] = []
    host.add(steps_of(steps, "orders"))
    async with running(kind(lifespan=host.lifespan)):
        assert steps[0] == "orders starts"
        await until(lambda: "orders runs" in steps, "the service")
    assert steps == ["orders starts", "orders runs", "orders ends"]


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_it_stands_inside_the_applications_own(host: Host, kind: Callable[..., Any]) -> None:
    steps: list[str] = []
    host.add(steps_of(steps, "orders"))

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        steps.append("pool opens")
        async with host.lifespan(app):
            await until(lambda: "orders runs" in steps, "the service")
            yield {"pool": "open"}
        steps.append("pool closes")

    async with running(kind(lifespan=lifespan)):
        assert steps == ["pool opens", "orders starts", "orders runs"]
    assert steps[3:] == ["orders ends", "pool closes"]


async def test_a_routers_lifespan_of_fastapi_runs_beside_it(host: Host) -> None:
    steps: list[str] = []
    host.add(steps_of(steps, "orders"))

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        steps.append("router opens")
        yield
        steps.append("router closes")

    app = FastAPI(lifespan=host.lifespan)
    app.include_router(APIRouter(lifespan=lifespan))
    async with running(app):
        await until(lambda: "orders runs" in steps, "the service")
        assert "router opens" in steps
    assert {"router closes", "orders ends"} <= set(steps)


async def test_that_of_a_mounted_application_is_not_run_by_anybody(host: Host) -> None:
    """What the page on web applications warns of: only the outermost application's lifespan is run."""
    steps: list[str] = []
    host.add(steps_of(steps, "orders"))
    async with running(Starlette(routes=[Mount("/inner", app=FastAPI(lifespan=host.lifespan))])):
        await asyncio.sleep(0)
    assert steps == []


async def test_its_health_is_mounted_in_the_application(host: Host) -> None:
    began = asyncio.Event()

    @host.active_passive
    async def settle(term: Term) -> None:
        began.set()
        await asyncio.sleep(3600)

    app = Starlette(routes=[Mount("/locum", app=HealthApp(host))])
    outer = Host("outer", store=host.settings.store_url, instance="server")
    service = AsgiService(app, port=0)
    outer.add(service)
    async with outer.lifespan():
        port = await port_of(service)
        assert await get(port, "/locum/livez") == (503, "the host does not run\n")
        async with host.lifespan():
            await soon(began.wait())
            assert await get(port, "/locum/livez") == (200, "live\n")
            assert await get(port, "/locum/active?service=settle") == (200, "active\n")
            assert json.loads((await get(port, "/locum/health"))[1])["instance"] == "web-1"
            assert (await get(port, "/locum/none"))[0] == 404
