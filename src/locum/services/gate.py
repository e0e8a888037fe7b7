"""A gate before an ASGI application: whether a request is let in, and by which headers it is told.

Promises: a request reaches the application only while the gate is open, under the path that is its own, and, if it
names a term, under that one; an answer is begun only while the gate's term is current, and says its token.
Assumes: what the application writes is fenced by the term (`scope["locum.term"]`); what it does besides the
transactions of its state, it does after them.
On loss: answers that were not begun are replaced by 503 with `Locum-Active: ended`; so is the application's own 500 for
a transaction that was refused, by what has become of that.
"""

from __future__ import annotations

import enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.client import ACTIVE, ENDED, NO, NOT_READY, TOKEN
from locum.errors import NotPrimaryError, StaleTermError
from locum.services.deeds import REFUSALS, noting
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from locum.coordination.term import Term
    from locum.services.deeds import Deeds

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

__all__ = ["Gate"]

_log = logger("services.gate")
_TRY_AGAIN_LATER: Final = 1013  # of WebSockets
_RETRY_AFTER: Final = b"1"  # s, the least that the header can say
_WORDS: Final = {NO: b"not active here\n", ENDED: b"not active here any more\n", NOT_READY: b"not ready, retry\n"}


class _Is(enum.Enum):
    CLOSED = enum.auto()
    NOT_READY = enum.auto()
    OPEN = enum.auto()


class Gate:
    """Lets requests in to an application, or answers 503 in its place.

    Closed (`Locum-Active: no`), the caller is to look elsewhere; not ready (`Retry-After`), it is to ask here again.

    Args:
        app: The application (Starlette, FastAPI, Django, ...).
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._is = _Is.CLOSED
        self._path = ""
        self._term: Term | None = None

    def await_readiness(self, path: str, term: Term | None = None) -> None:
        """Answer what comes under a path that it is to be asked again.

        Args:
            path: That all requests begin with, and that the application does not see; empty for none.
            term: Under which it will be served; `None` if that needs none.
        """
        self._is, self._path, self._term = _Is.NOT_READY, path, term

    def open(self, term: Term | None = None) -> None:
        """Let requests in; with a term, as long as that is current."""
        self._is, self._term = _Is.OPEN, term

    def close(self) -> None:
        """Let nobody in any more; who is in is answered, while its term is current."""
        self._is = _Is.CLOSED

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        why, term = self._refusal(scope), self._term
        if why:
            await _refuse(scope["type"], send, why)
            return
        scope = self._without_path(scope)
        await self._answer(scope if term is None else {**scope, "locum.term": term}, receive, send, term)

    async def _answer(self, scope: Message, receive: Receive, send: Send, term: Term | None) -> None:
        """Answer a request; what a state could not commit is told to the caller as what has become of it."""
        with noting() as deeds:
            answer = _Answer(scope["type"], send, term, deeds)
            try:
                await self._app(scope, receive, answer)
            except REFUSALS as error:
                if answer.has_begun and not answer.is_replaced:
                    raise
                _log.debug("a request was not done: %s", error)
                if not answer.has_begun:
                    deeds.failed(error)
                    await _refuse(scope["type"], send, _why_not(deeds))

    def _refusal(self, scope: Message) -> str:
        """Why a request is not let in; empty if it is."""
        path, term, asked = scope.get("path", ""), self._term, _asked(scope)
        if self._is is _Is.CLOSED or not (path == self._path or path.startswith(self._path + "/")):
            return NO
        if asked is not None and (term is None or asked != str(term.token)):
            return NO
        if term is not None and not term.is_current:
            return NO
        return NOT_READY if self._is is _Is.NOT_READY else ""

    def _without_path(self, scope: Message) -> Message:
        if not self._path:
            return scope
        raw = scope.get("raw_path")
        rest = None if raw is None else raw[len(self._path.encode()) :] or b"/"
        return {**scope, "path": scope["path"][len(self._path) :] or "/", "raw_path": rest}


class _Answer:
    """What the application answers, as long as its term is current when it begins to.

    Attributes:
        has_begun: Whether somebody has begun to answer.
        is_replaced: Whether that was not the application.
    """

    def __init__(self, kind: str, send: Send, term: Term | None, deeds: Deeds) -> None:
        self._kind, self._send, self._term, self._deeds = kind, send, term, deeds
        self.is_replaced = self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            self.has_begun = True
            why = self._objection(message)
            if why:
                self.is_replaced = True
                await _refuse(self._kind, self._send, why)
                return
            if self._term is not None:
                token = (TOKEN.lower().encode(), str(self._term.token).encode())
                message = {**message, "headers": [*message.get("headers", ()), token]}
        if not self.is_replaced:
            await self._send(message)

    def _objection(self, message: Message) -> str:
        """What the caller is told in the place of an answer that begins like this; empty for nothing."""
        if message.get("status") == HTTPStatus.INTERNAL_SERVER_ERROR and self._deeds.refused is not None:
            return _why_not(self._deeds)
        return ENDED if self._term is not None and not self._term.is_current else ""


def _asked(scope: Message) -> str | None:
    """The token of the term that a request is meant for."""
    wanted = TOKEN.lower().encode()
    return next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted), None)


def _why_not(deeds: Deeds) -> str:
    """What a caller is told of a refusal: to look elsewhere, to ask again, or that it may have been done."""
    if deeds.may_be_done:
        return ENDED
    return NO if isinstance(deeds.refused, (NotPrimaryError, StaleTermError)) else NOT_READY


async def _refuse(kind: str, send: Send, why: str) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": f"{ACTIVE}: {why}"})
        return
    body = _WORDS[why]
    headers = [(ACTIVE.lower().encode(), why.encode()), (b"content-length", str(len(body)).encode())]
    if why == NOT_READY:
        headers.append((b"retry-after", _RETRY_AFTER))
    await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": body})
