"""Web applications: one as a service of the host, and the host's health inside one.

The other way round, a host inside a web application, needs nothing from here: `FastAPI(lifespan=host.lifespan)`.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from locum.errors import ConfigurationError
from locum.host.probes import Answer, answer
from locum.scopes import Scope, finish
from locum.service import Stopping  # in a signature that is read when the program runs
from locum.services.background import BackgroundService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    import uvicorn

    from locum.host.host import Host

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Application = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Any]], Send], Awaitable[None]]

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
        self._app, self._host, self._port = app, host, port
        self._settings = {"log_config": None, "timeout_graceful_shutdown": drain, **settings}
        self.address: tuple[str, int] | None = None
        self._listener: socket.socket | None = None
        self._all_started = asyncio.Event()

    async def start(self) -> None:
        """Take the port; nobody is answered yet.

        Raises:
            ConfigurationError: It cannot be had, or uvicorn is not installed.
        """
        try:
            import uvicorn  # noqa: F401 - whether it is there is told before anything runs
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "to serve a web application, uvicorn is needed: pip install 'locum[web]'"
            ) from error
        self._listener = self._take_port()

    async def started(self) -> None:
        """Everything is ready: open."""
        self._all_started.set()

    async def run(self, stopping: Stopping) -> None:
        """Serve until the host stops; then take nothing more in, and answer what is there."""
        await self._all_started.wait()
        listener = self._listener or self._take_port()  # again after it has failed
        self._listener = None
        server = _server(self._app, self._settings)
        async with Scope(stopping.name, on_error=_told_by_result) as scope:
            serving = scope.spawn(_serve(server, listener), name="server")
            asked = scope.spawn(stopping.asked(), name="stop")
            try:
                while not server.started and not serving.done() and not asked.done():
                    await asyncio.wait([serving, asked], timeout=0.01)
                if server.started:
                    self.address = listener.getsockname()[:2]
                    stopping.ready()
                await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
            finally:
                server.should_exit = True
                await finish(serving)
                listener.close()
        if not server.started and not stopping.stopping:
            raise RuntimeError("the application did not start: its lifespan failed, and has said why")
        serving.result()

    async def close(self) -> None:
        """Let go of a port that was never opened."""
        if self._listener is not None:
            self._listener.close()

    def _take_port(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a worker may be started again at once
        try:
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise ConfigurationError(
                f"the application cannot listen on {self._host}:{self._port}: {error.strerror or error}; end who"
                " listens there, or choose another port"
            ) from error
        return listener


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


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit:  # uvicorn's word for an application that did not start; it must not end the host
        pass


def _server(app: Application, settings: dict[str, Any]) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """They are the host's."""
            yield

    return Server(uvicorn.Config(app, **settings))


def _told_by_result(task: str, error: BaseException) -> None:
    """Whoever waits for the task has its error."""
