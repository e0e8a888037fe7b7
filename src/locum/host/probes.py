"""A tiny HTTP server for probes and load balancers: a few paths that answer yes (200) or no (503), and a picture.

It speaks just enough HTTP for `kubelet`, HAProxy, nginx, `curl` and a browser: GET and HEAD, one request a connection.
It runs in the host's own event loop, so an answer proves that this turns.
"""

from __future__ import annotations

import asyncio
import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from locum.errors import ConfigurationError
from locum.scopes import happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.host.health import Health
    from locum.scopes import Scope

__all__ = ["Answer", "ProbeServer", "answer", "parse_address"]

_log = logger("host.health")
_LINE_LIMIT: Final = 8192
_LINES: Final = 100
_PATIENCE: Final = 5.0  # s for one request; who dawdles is cut off
_AT_ONCE: Final = 64


class Answer(NamedTuple):
    """What a request is answered with."""

    status: HTTPStatus
    body: str
    type: str = "text/plain; charset=utf-8"


def answer(health: Health, target: str) -> Answer:
    """The answer to a path with its query, such as `/active?service=settlement`, or `/active/settlement`."""
    parts = urlsplit(target)
    name, _, rest = unquote(parts.path).strip("/").partition("/")
    service = rest or "".join(parse_qs(parts.query).get("service", [])[:1])
    if name == "livez" and not rest:
        return _verdict(health.overdue(), "live")
    if name == "readyz" and not rest:
        return _verdict(health.unready(), "ready")
    if name == "health" and not rest:
        return Answer(HTTPStatus.OK, json.dumps(health.picture(), indent=1) + "\n", "application/json")
    if name in ("active", "standby"):
        return _role(health, name, service)
    return Answer(HTTPStatus.NOT_FOUND, "there is /livez, /readyz, /health, /active and /standby\n")


def parse_address(text: str) -> tuple[str | None, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for every interface.

    Raises:
        ConfigurationError: It is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 65536):
        raise ConfigurationError(f"health={text!r} is no address to listen on: write HOST:PORT, such as 127.0.0.1:8080")
    return host.removeprefix("[").removesuffix("]") or None, int(port)


class ProbeServer:
    """Answers for one host.

    Args:
        health: What is answered.
        scope: Owns the tasks.
    """

    def __init__(self, health: Health, *, scope: Scope) -> None:
        self._health, self._scope = health, scope
        self._server: asyncio.Server | None = None
        self._open = 0

    async def open(self, address: str) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            ConfigurationError: It cannot listen there.
        """
        host, port = parse_address(address)
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_LINE_LIMIT)
        except OSError as error:
            raise ConfigurationError(
                f"the health server cannot listen on {address}: {_words(error)}; end who listens there, or"
                " choose another address by health= or LOCUM_HEALTH (port 0 takes any free one)"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= _AT_ONCE:
            writer.close()
            return
        self._open += 1
        self._scope.spawn(self._serve(reader, writer), name="health request")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await happens(self._answer(reader, writer), within=_PATIENCE)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError) as error:  # a line too long is a ValueError
            _log.debug("a request was not answered: %s", error)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readline()).decode("latin-1").split()
        for _ in range(_LINES):
            if await reader.readline() in (b"\r\n", b"\n", b""):
                break
        if len(request) != 3 or not request[2].startswith("HTTP/1."):
            found = Answer(HTTPStatus.BAD_REQUEST, "this is not HTTP/1\n")
        elif request[0] not in ("GET", "HEAD"):
            found = Answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n")
        else:
            found = answer(self._health, request[1])
        body = found.body.encode()
        head = (
            f"HTTP/1.1 {found.status.value} {found.status.phrase}\r\nContent-Type: {found.type}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("latin-1") + (b"" if request[:1] == ["HEAD"] else body))
        await writer.drain()


def _words(error: OSError) -> str:
    """Without the address, which asyncio puts in again."""
    return os.strerror(error.errno) if error.errno else str(error)


def _verdict(reasons: list[str], word: str) -> Answer:
    if reasons:
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{reason}\n" for reason in reasons))
    return Answer(HTTPStatus.OK, f"{word}\n")


def _role(health: Health, role: str, service: str) -> Answer:
    roles = health.roles()
    if not service and len(roles) == 1:
        service = roles[0]
    if service not in roles:
        asked = f"there is no {service!r} among" if service else "say which by ?service=NAME:"
        return Answer(HTTPStatus.NOT_FOUND, f"{asked} the services that work on one instance: {', '.join(roles)}\n")
    is_so: Callable[[str], bool] = health.is_active if role == "active" else health.is_standby
    if is_so(service):
        return Answer(HTTPStatus.OK, f"{role}\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not {role} in {service}\n")
