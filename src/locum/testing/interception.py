"""Any store, with something between it and its caller that sees each call and decides what becomes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from locum.store import Change, Expect, Guarantees, Health, Listing, Record, Seen, SessionInfo, Sessions, Store

__all__ = ["Call", "InterceptedStore"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store, not yet made.

    Attributes:
        name: The method's name.
        subject: What it is about: a key, a prefix, a session's id, a beat's number; empty where there is none.
        make: Makes it; may be called more than once, or never.
        value: What a `write` would write; `None` for all others.
    """

    name: str
    subject: object
    make: Callable[[], Awaitable[Any]]
    value: bytes | None = None


class InterceptedStore:
    """A store whose every call but `open` and `close` goes through `intercept`.

    Args:
        store: The store that does the work.
    """

    def __init__(self, store: Store) -> None:
        self.inner = store

    async def intercept(self, call: Call) -> Any:
        """Make a call, or not; what this returns or raises is what the caller gets."""
        return await call.make()

    @property
    def url(self) -> str:
        """The store's URL without secrets."""
        return self.inner.url

    @property
    def namespace(self) -> str:
        """Whose sessions and records these are."""
        return self.inner.namespace

    @property
    def call_timeout(self) -> float:
        """Seconds after which a call ends without an answer; what `intercept` waits for is not counted."""
        return self.inner.call_timeout

    @call_timeout.setter
    def call_timeout(self, timeout: float) -> None:
        self.inner.call_timeout = timeout

    @property
    def seen(self) -> Seen | None:
        """What the store's connection has seen."""
        return self.inner.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self.inner.seen = seen

    async def open(self, *, make: bool = True) -> None:
        """Connect."""
        await self.inner.open(make=make)

    async def close(self) -> None:
        """Leave."""
        await self.inner.close()

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        return await self._through("adopt", "", lambda: self.inner.adopt(max_ttl=max_ttl))

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation."""
        return await self._through("renew", "", lambda: self.inner.renew(max_ttl=max_ttl))

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        return await self._through("lift_quarantine", incarnation, lambda: self.inner.lift_quarantine(incarnation))

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session."""
        return await self._through("open_session", session_id, lambda: self.inner.open_session(owner, ttl, session_id))

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        await self._through("beat", number, lambda: self.inner.beat(session_id, number))

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._through("close_session", session_id, lambda: self.inner.close_session(session_id, reason=reason))

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        return await self._through(
            "close_if_silent", session_id, lambda: self.inner.close_if_silent(session_id, beat=beat, reason=reason)
        )

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(ids)
        subject = "" if wanted is None else " ".join(wanted)
        return await self._through("sessions", subject, lambda: self.inner.sessions(wanted))

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._through("read", key, lambda: self.inner.read(key))

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
        """Compare and set."""

        def make() -> Awaitable[Record]:
            return self.inner.write(
                key,
                value,
                expect=expect,
                session=session,
                if_open=if_open,
                if_gone=if_gone,
                if_empty=if_empty,
                drop=drop,
            )

        return cast("Record", await self.intercept(Call("write", key, make, value)))

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._through("delete", key, lambda: self.inner.delete(key, expect=expect))

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix."""
        return await self._through("list", prefix, lambda: self.inner.list(prefix, after=after, named=named))

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups, as the store gives them."""
        async with self.inner.changes(prefixes) as changes:
            yield changes

    def guarantees(self) -> Guarantees:
        """What the store promises."""
        return self.inner.guarantees()

    async def health(self) -> Health:
        """Reach it once."""
        return await self._through("health", "", self.inner.health)

    async def _through(self, name: str, subject: object, make: Callable[[], Awaitable[T]]) -> T:
        return cast("T", await self.intercept(Call(name, subject, make)))
