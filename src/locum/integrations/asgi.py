"""Web applications: one as a service of the host, and the host's health inside one.

The other way round, a host inside a web application, needs nothing from here: `FastAPI(lifespan=host.lifespan)`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from locum.host.probes import Answer, answer
from locum.scopes import Scope, told_by_result
from locum.service import Stopping  # in a signature that is read when the program runs
from locum.services.asgi import Serving, demand_uvicorn, take_port
from locum.services.background import BackgroundService

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, MutableMapping

    from locum.host.host import Host
    from locum.services.gate import Application

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = ["AsgiService", "HealthApp"]


class AsgiService(BackgroundService):
    """Serves an ASGI application, by uvicorn, as a service of the host.

    It opens when everything else is ready and closes before anything else is stopped: no request meets a service that
    is not there. Signals are the host's.

    Args:
        app: The application (Starlette, FastAPI, Django, ...).
        host: The address to listen on.
        port: The port; 0 takes any free one.
        drain: Seconds that requests have to be answered when it closes.
        settings: Anything else that `uvicorn.Config` takes.

    Attributes:
        address: Where it listens, once it does.
    """

    comes_last = True

    def __init__(
        self, app: Application, *, host: str = "127.0.0.1", port: int = 8000, drain: float = 10.0, **settings: Any
    ) -> None:
        self._app, self._host, self._port, self._drain, self._settings = app, host, port, drain, settings
        self.address: tuple[str, int] | None = None
        self._listener: socket.socket | None = None
        self._all_started = asyncio.Event()

    async def start(self) -> None:
        """Take the port; nobody is answered yet.

        Raises:
            ConfigurationError: It cannot be had, or uvicorn is not installed.
        """
        demand_uvicorn()
        self._listener = take_port(self._host, self._port)

    async def started(self) -> None:
        """Everything is ready: open."""
        self._all_started.set()

    async def run(self, stopping: Stopping) -> None:
        """Serve until the host stops; then take nothing more in, and answer what is there."""
        await self._all_started.wait()
        listener = self._listener or take_port(self._host, self._port)  # again after it has failed
        self._listener = None
        serving = Serving(self._app, name=stopping.name, drain=self._drain, **self._settings)
        try:
            await serving.start(listener)
            self.address = listener.getsockname()[:2]
            stopping.ready()
            async with Scope(stopping.name, on_error=told_by_result) as scope:
                over = scope.spawn(serving.over(), name="end of the server")
                asked = scope.spawn(stopping.asked(), name="stop")
                await asyncio.wait([over, asked], return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    over.result()
        finally:
            await serving.stop()

    async def close(self) -> None:
        """Let go of a port that was never opened."""
        if self._listener is not None:
            self._listener.close()


class HealthApp:
    """The paths of the health server as an ASGI application, to be mounted in one that the host runs inside of.

    Every process of a web server is an instance of its own, so each shows its own health.

    Args:
        host: The host, run by `host.lifespan`.
    """

    def __init__(self, host: Host) -> None:
        self._plan = host.plan

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send
    ) -> None:
        """Answer one request."""
        del receive
        if scope["type"] != "http":
            return
        query = scope.get("query_string", b"").decode("latin-1")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        health = self._plan.health
        found = (
            Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the host does not run\n")
            if health is None
            else answer(health, f"{path}?{query}")
        )
        body = found.body.encode()
        headers = [
            (b"content-type", found.type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": found.status.value, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
