"""The store contract on a memory server: one connection to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError, OutcomeUnknownError, StoreReplacedError, StoreUnavailableError
from locum.names import check_key, check_name
from locum.scopes import post
from locum.store import (
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    check_session,
    check_value,
)
from locum.stores.memory.server import MemoryServer
from locum.stores.memory.wire import Wire
from locum.stores.sight import Sight
from locum.stores.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

    from locum.clock import Clock

__all__ = ["MemoryStore", "make_store"]

T = TypeVar("T")

_LEAST_TTL: Final = 0.5
_POLL_INTERVAL: Final = 5.0

_SERVERS: Final[dict[str, MemoryServer]] = {}
"""The servers of this process that URLs name; each lives as long as the process."""


def make_store(url: str, *, namespace: str, clock: Clock) -> MemoryStore:
    """The store of a `memory://NAME` URL: the server of that name within this process, made at its first use."""
    parts = urlsplit(url)
    if not parts.netloc or parts.path or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} names no server of this process: write it like memory://billing")
    name = check_name(parts.netloc, what="the name of a memory store")
    if name not in _SERVERS:
        _SERVERS[name] = MemoryServer(name, clock=clock)
    return MemoryStore(_SERVERS[name], namespace=namespace, clock=clock)


class MemoryStore:
    """One connection to a server in this process.

    Args:
        server: Holds the data.
        namespace: Whose sessions and records these are.
        clock: Measures the round trip.
        wire: The way to the server and back; a straight one if none is given.
    """

    def __init__(self, server: MemoryServer, *, namespace: str, clock: Clock, wire: Wire | None = None) -> None:
        self.url = server.url
        self.namespace = namespace
        self.call_timeout = 1.0
        self._server, self._clock, self._wire = server, clock, wire or Wire()
        self._sight = Sight(self.url)
        self._subscriptions = Subscriptions(_POLL_INTERVAL)
        self._deaf: Callable[[], None] | None = None
        self._limits: set[asyncio.Timeout] = set()

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Reach the server, and make the store if it holds none."""
        if self._deaf is None:
            self._deaf = self._server.listen(self.namespace, self._hear_in(asyncio.get_running_loop()))
        seen = self.seen
        try:
            found = await self._carry("open", lambda: self._server.open(seen, make=make))
        except BaseException:
            await self.close()
            raise
        if seen is None:
            self.seen = found

    async def close(self) -> None:
        """Leave; calls that are on their way have no answer any more."""
        deaf, self._deaf = self._deaf, None
        if deaf is not None:
            deaf()
        for limit in self._limits:
            limit.reschedule(0)

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        return await self._take_up("adopt", lambda seen: self._server.adopt(seen, max_ttl))

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        return await self._take_up("renew", lambda seen: self._server.renew(seen, max_ttl))

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        return await self._ask("lift_quarantine", lambda: self._server.lift_quarantine(incarnation))

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        check_session(session_id, owner)
        granted = max(ttl, nanoseconds(_LEAST_TTL))
        return await self._ask(
            "open_session", lambda: self._server.open_session(self.namespace, owner, granted, session_id)
        )

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        await self._ask("beat", lambda: self._server.beat(self.namespace, session_id, number))

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._ask(
            "close_session", lambda: self._server.close(self.namespace, session_id, beat=None, reason=reason)
        )

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        return await self._ask(
            "close_if_silent", lambda: self._server.close(self.namespace, session_id, beat=beat, reason=reason)
        )

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(ids)
        return await self._ask("sessions", lambda: self._server.sessions(self.namespace, wanted))

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._ask("read", lambda: self._server.read(self.namespace, key))

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
        if_empty: str | None = None,
        drop: str | None = None,
    ) -> Record:
        """Compare and set, as one step."""
        check_key(key)
        check_value(key, value)
        return await self._ask(
            "write",
            lambda: self._server.write(
                self.namespace,
                key,
                value,
                expect=expect,
                session=session,
                if_open=if_open,
                if_gone=if_gone,
                if_empty=if_empty,
                drop=drop,
            ),
        )

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._ask("delete", lambda: self._server.delete(self.namespace, key, expect))

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation."""
        return await self._ask("list", lambda: self._server.list(self.namespace, prefix, after, named))

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        with self._subscriptions.subscribe(prefixes) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What this process's memory promises: nothing to any other process, and nothing beyond its end."""
        return Guarantees(
            one_process=True,
            one_machine=True,
            guarded_writes=True,
            native_sessions=False,
            pushed_changes=True,
            durable=False,
            least_ttl=_LEAST_TTL,
            poll_interval=_POLL_INTERVAL,
        )

    async def health(self) -> Health:
        """Reach it once."""
        begun = self._clock.now()
        await self._ask("health", lambda: None)
        return Health("memory", seconds(self._clock.now() - begun), 0)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _ask(self, call: str, operation: Callable[[], T]) -> T:
        seen = self._sight.demand()
        try:
            result, now = await self._carry(call, lambda: self._server.serve(seen, operation))
        except StoreReplacedError as error:
            raise self._sight.replaced(error.found, seen=seen) from None
        self._sight.note(now)
        return result

    async def _take_up(self, call: str, decide: Callable[[Seen | None], Seen]) -> Seen:
        before = self.seen
        found = await self._carry(call, lambda: decide(before))
        self._sight.adopt(found)
        self._subscriptions.tell_all()
        return found

    async def _carry(self, call: str, request: Callable[[], T]) -> T:
        """Make a request at the server, within the deadline."""
        if self._deaf is None:
            raise StoreUnavailableError(self.url, "this connection is not open")
        try:
            async with asyncio.timeout(self.call_timeout) as limit:
                self._limits.add(limit)
                try:
                    return await self._wire.carry(call, request)
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            why = "no answer came in time" if self._deaf is not None else "the connection was closed"
            raise OutcomeUnknownError(self.url, call, why) from None

    def _hear_in(self, loop: asyncio.AbstractEventLoop) -> Callable[[frozenset[str] | None], None]:
        """What the server calls when something has changed, from whatever thread changed it."""

        def hear(keys: frozenset[str] | None) -> None:
            tell = self._subscriptions.tell_all if keys is None else partial(self._subscriptions.tell, keys)
            post(loop, lambda: self._wire.push(tell))

        return hear
