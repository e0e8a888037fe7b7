"""Web applications behind a service's own address: uvicorn on a socket of ours, and the listener made of it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.errors import ConfigurationError
from locum.scopes import Scope, finish, happens, told_by_result
from locum.services.gate import Gate
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import uvicorn

    from locum.services.gate import Application

__all__ = ["AsgiListener", "Serving", "demand_uvicorn", "take_port"]

_log = logger("services.asgi")
_TURNS: Final = 8
"""Of the loop: so many it takes to accept who has come, and to read what was asked."""
T = TypeVar("T")


def demand_uvicorn() -> None:
    """Raise `ConfigurationError` if uvicorn is not installed."""
    try:
        import uvicorn  # noqa: F401 - whether it is there is told before anything runs
    except ModuleNotFoundError as error:
        raise ConfigurationError("to serve a web application, uvicorn is needed: pip install 'locum[web]'") from error


def take_port(host: str, port: int) -> socket.socket:
    """A socket bound to an address; nobody is answered yet.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # by its protocol asyncio sees that what it accepts is TCP, and has it send at once what is there to be sent
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a worker may be started again at once
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"the application cannot listen on {host}:{port}: {error.strerror or error}; end who listens there, or"
            " choose another port"
        ) from error
    return listener


class Serving:
    """An application, served by uvicorn on a socket; signals are left alone.

    Args:
        app: The application.
        name: Whose it is, for the names of tasks.
        drain: Seconds that requests have to be answered when it stops.
        settings: Anything else that `uvicorn.Config` takes.
    """

    def __init__(self, app: Application, *, name: str, drain: float, **settings: Any) -> None:
        self._scope = Scope(name, on_error=told_by_result)
        self._asked, self._started, self._left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._server = _server(app, {"log_config": None, "timeout_graceful_shutdown": drain, **settings}, self)
        self._task: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on this socket, which is closed at the end.

        Raises:
            RuntimeError: The application did not start.
        """
        self._task = self._scope.spawn(self._serve(listener), name="server")
        started = self._scope.spawn(self._started.wait(), name="started")
        try:
            await asyncio.wait([self._task, started], return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
        if self._task.done():
            self._task.result()
            raise RuntimeError("the application did not start: its lifespan failed, and has said why")

    async def over(self) -> None:
        """Wait until it serves no more, and raise what it failed with."""
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task.result()

    async def stop(self) -> None:
        """Take nothing more in, answer what is there, and end."""
        self._ask()
        if self._task is not None:
            await finish(self._task)
        await self._scope.close()

    def abort(self) -> None:
        """Cut everyone off; it ends by itself then."""
        self._server.force_exit = True
        self._ask()
        self._left.set()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def _ask(self) -> None:
        self._server.should_exit = True
        self._asked.set()

    async def _serve(self, listener: socket.socket) -> None:
        try:
            await self._server.serve(sockets=[listener])
        except SystemExit:  # uvicorn's word for an application that did not start; it must not end the host
            pass
        finally:
            listener.close()


class AsgiListener:
    """An ASGI application at an address that is this replica's alone: asked before that is ready, it answers 503.

    Args:
        app: The application (Starlette, FastAPI, Django, ...); a stateful service's primary finds its term in
            `scope["locum.term"]`.
        host: The address to listen on.
        port: The port; 0 takes any free one.
        public: The host name or address that callers use; `host` if none is given.
        drain: Seconds that requests have to be answered when it closes.
        settings: Anything else that `uvicorn.Config` takes; no lifespan is run and no access logged unless they say so.

    Attributes:
        gate: Lets requests in; its service opens it.
    """

    def __init__(
        self,
        app: Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public: str | None = None,
        drain: float = 5.0,
        **settings: Any,
    ) -> None:
        self.gate = Gate(app)
        self._host, self._port, self._public, self._drain = host, port, public or host, drain
        self._settings = {"lifespan": "off", "access_log": False, **settings}
        self._serving: Serving | None = None

    def load(self) -> None:
        """Load what it serves with, so that this costs nothing when it opens.

        Raises:
            ConfigurationError: uvicorn is not installed.
        """
        demand_uvicorn()
        import uvicorn

        uvicorn.Config(self.gate, log_config=None, **self._settings).load()

    async def open(self) -> str:
        """Listen.

        Returns:
            The URL.

        Raises:
            ConfigurationError: The address cannot be had, or uvicorn is not installed.
        """
        demand_uvicorn()
        listener = take_port(self._host, self._port)
        self._serving = Serving(self.gate, name="listener", drain=self._drain, **self._settings)
        await self._serving.start(listener)
        named = f"[{self._public}]" if ":" in self._public else self._public
        return f"http://{named}:{listener.getsockname()[1]}"

    async def close(self) -> None:
        """Take nothing more in, and answer what is there."""
        self.gate.close()
        if self._serving is not None:
            await self._serving.stop()

    def abort(self) -> None:
        """Cut everyone off at once."""
        self.gate.close()
        if self._serving is not None:
            self._serving.abort()


class _Present(set[T]):
    """Who is there; whoever waits for the end of it is told when one has left.

    Args:
        left: Called then.
    """

    def __init__(self, left: Callable[[], object]) -> None:
        super().__init__()
        self._left = left

    def discard(self, one: object) -> None:
        super().discard(one)
        self._left()

    def remove(self, one: T) -> None:
        super().remove(one)
        self._left()


def _server(app: Application, settings: dict[str, Any], serving: Serving) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.server_state.connections = _Present(serving._left.set)
            self.server_state.tasks = _Present(serving._left.set)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """They are the host's."""
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                serving._started.set()

        async def main_loop(self) -> None:
            """As uvicorn's, which sleeps on for some time when it is told to end."""
            turn = 0
            while not await self.on_tick(turn):
                turn = (turn + 1) % 864_000
                await happens(serving._asked.wait(), within=0.1)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """As uvicorn's, which looks every 100 ms only whether everyone has left, and hears nobody who has come."""
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            for server in self.servers:
                server.close()
            for listener in sockets or ():
                listener.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()
            if not await happens(self._all_left(), within=self.config.timeout_graceful_shutdown):
                late = list(self.server_state.tasks)
                _log.warning("%d requests were not answered in time, and are cut off", len(late))
                for task in late:
                    task.cancel()
            if not self.force_exit:
                await self.lifespan.shutdown()

        async def _all_left(self) -> None:
            while (self.server_state.connections or self.server_state.tasks) and not self.force_exit:
                serving._left.clear()
                await serving._left.wait()

    return Server(uvicorn.Config(app, **settings))
