"""A web application that is served by the active instance alone, and says so by its headers.

Promises: a request reaches the application only under a term that is current, and, if it names a term, under that one;
an answer is begun only while that term is current, and says its token.
Assumes: what the application writes is fenced by the term (`scope["locum.term"]`).
On loss: answers that were not begun are replaced by 503 with `Locum-Active: ended`.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from locum.coordination.client import ACTIVE, ENDED, NO, TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from locum.coordination.term import Term

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

__all__ = ["ActiveOnly"]

_TRY_AGAIN_LATER = 1013  # of WebSockets


class ActiveOnly:
    """An ASGI application that passes requests on while its instance is active, and answers 503 otherwise.

    Args:
        app: The application (Starlette, FastAPI, Django, ...).
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._term: Term | None = None

    @contextmanager
    def during(self, term: Term) -> Iterator[None]:
        """Serve under this term for the length of the block; enter it before the address is published."""
        self._term = term
        try:
            yield
        finally:
            if self._term is term:
                self._term = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        term = self._term
        if term is None or not term.is_current or _asked(scope) not in (None, str(term.token)):
            await _refuse(scope["type"], send, NO)
            return
        await self._app({**scope, "locum.term": term}, receive, _Answer(scope["type"], send, term))


class _Answer:
    """What the application answers, as long as its term is current when it begins to."""

    def __init__(self, kind: str, send: Send, term: Term) -> None:
        self._kind, self._send, self._term = kind, send, term
        self._is_dropped = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            if not self._term.is_current:
                self._is_dropped = True
                await _refuse(self._kind, self._send, ENDED)
                return
            headers = [*message.get("headers", ()), (TOKEN.lower().encode(), str(self._term.token).encode())]
            message = {**message, "headers": headers}
        if not self._is_dropped:
            await self._send(message)


def _asked(scope: Message) -> str | None:
    """The token of the term that a request is meant for."""
    wanted = TOKEN.lower().encode()
    return next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted), None)


async def _refuse(kind: str, send: Send, why: str) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": f"{ACTIVE}: {why}"})
        return
    body = b"not active here\n" if why == NO else b"not active here any more\n"
    headers = [(ACTIVE.lower().encode(), why.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": body})
