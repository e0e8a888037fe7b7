"""The real store, and real fences, behind a network that loses what it is told to lose."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.clock import Clock
from locum.errors import CorruptRecordError, OutcomeUnknownError, StoreUnavailableError
from locum.registry import make_store
from locum.testing.interception import InterceptedStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from locum.coordination.fence import Fence
    from locum.testing.interception import Call

__all__ = ["CALLS", "FAULTS", "LossyFence", "LossyStore", "Network"]

T = TypeVar("T")

CALLS: Final = (
    "open",
    "accept the store",
    "stand in line",
    "read the grant",
    "create the grant",
    "read the holder's session",
    "read the line",
    "read the floor",
    "read the pause",
    "read the journal",
    "take",
    "raise the fence",
    "beat",
    "release",
    "note",
    "close",
)
"""The calls of one trip, from the session's opening to its close."""


class Network:
    """What lies between one candidate and its store.

    Args:
        ttl: Of the session, in seconds.
    """

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self.seen: set[str] = set()
        self.struck = asyncio.Event()
        """Set when a call has met a fault."""
        self.on_strike: Callable[[], object] = lambda: None
        """Called at that very moment, before anyone hears of it."""
        self.on_its_way: set[asyncio.Task[Any]] = set()
        """Calls that will land although nobody waits for them."""
        self._plans: dict[str, list[str]] = {}
        self._cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def plan(self, call: str, faults: Iterable[str]) -> None:
        """What happens to the next calls of that sort."""
        self._plans[call] = list(faults)

    def cut(self) -> None:
        """Nobody sends any more, and nobody waits for an answer."""
        if not self._cut.done():
            self._cut.set_result(None)

    async def carry(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, whatever becomes of it."""
        self.seen.add(what)
        self._check()
        plan = self._plans.get(what)
        if not plan:
            return await call()
        return await self._lose(plan.pop(0), what, call)

    async def _lose(self, fault: str, what: str, call: Callable[[], Awaitable[T]]) -> T:
        match fault:
            case "lost before":
                self._strike()
            case "lost after":
                await call()
                self._strike()
            case "lands later":
                self.on_its_way.add(asyncio.ensure_future(self._land_later(call)))
                self._strike()
            case "breaks after":
                await call()
                self._strike()
                raise CorruptRecordError(what, "it came back in pieces")
            case "answered late":
                result = await call()
                self._strike()
                await asyncio.sleep(0.7 * self.ttl)  # past the deadline of whoever counts from the sending
                self._check()
                return result
        self._check()
        raise OutcomeUnknownError("the store", what)

    async def _land_later(self, call: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(0.3 * self.ttl)
        try:
            await call()
        except Exception:  # noqa: S110 - refused: nobody is there to hear it
            pass

    def _strike(self) -> None:
        self.on_strike()
        self.struck.set()

    def _check(self) -> None:
        if self._cut.done():
            raise StoreUnavailableError("the store", "this process is dead")


FAULTS: Final = ("lost before", "lost after", "lands later", "answered late")
"""What can become of a call: never heard, done but unanswered, done when nobody expects it, answered too late."""


class LossyStore(InterceptedStore):
    """The real store behind such a network."""

    def __init__(self, url: str, network: Network) -> None:
        super().__init__(make_store(url, namespace="faults", clock=Clock()))
        self._network = network

    async def intercept(self, call: Call) -> Any:
        return await self._network.carry(_what(call), call.make)


def _what(call: Call) -> str:
    """A call by its place in the trip."""
    match call.name:
        case "open_session":
            return "open"
        case "adopt":
            return "accept the store"
        case "close_session":
            return "close"
        case "sessions":
            return "read the holder's session" if call.subject else "look at the neighbours"
        case "read":
            return f"read the {str(call.subject).partition('/')[0]}"
        case "write":
            return _write_of(str(call.subject), call.value or b"")
        case "delete":
            return "leave the line"
        case "list":
            return "read the line"
    return call.name


def _write_of(key: str, value: bytes) -> str:
    kind = key.partition("/")[0]
    if kind == "grant":
        grant = json.loads(value)
        if grant["holder"] is not None:
            return "take"
        return "create the grant" if grant["past"] is None else "release"
    return {"line": "stand in line", "journal": "note"}.get(kind, "write")


class LossyFence:
    """A real fence behind such a network."""

    def __init__(self, fence: Fence, network: Network) -> None:
        self._fence, self._network = fence, network
        self.database = fence.database

    async def open(self) -> None:
        await self._fence.open()

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        try:
            await self._network.carry("raise the fence", lambda: self._fence.raise_to(scope, token, timeout=timeout))
        except OutcomeUnknownError as error:
            raise sqlite3.OperationalError("disk I/O error") from error  # as a user's database says it
