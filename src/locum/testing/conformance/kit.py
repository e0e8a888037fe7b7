"""What the contracts' tests share: sessions, pictures, and waiting for wake-ups."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.clock import nanoseconds
from locum.names import random_id
from locum.scopes import Scope
from locum.store import ANY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from locum.store import Change, Seen, SessionState, Store

__all__ = [
    "CHANGES",
    "LONG",
    "TTL",
    "call_of",
    "heard",
    "no_wake_up",
    "open_one",
    "picture_of",
    "quiet",
    "seen_now",
    "soon",
    "state_of",
    "together",
    "turns",
]

T = TypeVar("T")

LONG: Final = 20.0
"""Seconds after which something that takes milliseconds has not happened."""

TTL: Final = nanoseconds(60)
"""Of the tests' sessions, in nanoseconds."""

CHANGES: Final = ("open_session", "beat", "close_session", "close_if_silent", "write", "delete", "lift_quarantine")
"""The calls that change something."""


async def open_one(store: Store, *, owner: bytes = b"me", ttl: int = TTL) -> str:
    """The id of a new session."""
    session = random_id()
    await store.open_session(owner, ttl, session)
    return session


async def seen_now(store: Store) -> Seen:
    """What a store has seen, as of now."""
    await store.read("a")
    assert store.seen is not None
    return store.seen


async def picture_of(store: Store) -> tuple[object, ...]:
    """All that can be read of a namespace."""
    return await store.sessions(), await store.list("")


async def call_of(store: Store, call: str, mine: str, theirs: str) -> None:
    """Make a call that would succeed; those of `CHANGES` would change something."""
    match call:
        case "read":
            await store.read("a")
        case "list":
            await store.list("")
        case "sessions":
            await store.sessions()
        case "health":
            await store.health()
        case "open_session":
            await store.open_session(b"me", TTL, random_id())
        case "beat":
            await store.beat(mine, 1)
        case "close_session":
            await store.close_session(mine, reason=b"")
        case "close_if_silent":
            await store.close_if_silent(theirs, beat=0, reason=b"")
        case "write":
            await store.write("a", b"new", expect=ANY)
        case "delete":
            await store.delete("a", expect=ANY)
        case "lift_quarantine":
            assert store.seen is not None
            await store.lift_quarantine(store.seen.incarnation)
        case _:
            raise AssertionError(call)


async def state_of(store: Store, session: str) -> SessionState:
    """What a store knows of a session."""
    return (await store.sessions([session])).by_id[session].state


@asynccontextmanager
async def quiet(store: Store, prefixes: list[str]) -> AsyncIterator[AsyncIterator[Change]]:
    """Wake-ups from here on: those that are allowed for what was before have been taken."""
    async with store.changes(prefixes) as changes, store.changes(["sentinel"]) as sentinel:
        await _all_told(store, sentinel)
        await _poll(changes)
        yield changes


@asynccontextmanager
async def no_wake_up(store: Store, prefixes: list[str]) -> AsyncIterator[None]:
    """Fails if what happens in the block wakes a reader of these prefixes."""
    async with quiet(store, prefixes) as changes:
        yield
        async with store.changes(["sentinel"]) as sentinel:
            await _all_told(store, sentinel)
        assert await _poll(changes) is None, "somebody was woken for nothing"


async def _all_told(store: Store, sentinel: AsyncIterator[Any]) -> None:
    """Every change until now has woken whom it will: a later one has."""
    await store.write("sentinel", b"", expect=ANY)
    await soon(anext(sentinel))
    await turns()


async def heard(store: Store, changes: AsyncIterator[Change]) -> Change:
    """A wake-up that comes by itself where changes are pushed, and not because nothing came for long."""
    promised = store.guarantees()
    async with asyncio.timeout(0.8 * promised.poll_interval if promised.pushed_changes else LONG):
        return await anext(changes)


async def _poll(changes: AsyncIterator[Any]) -> Any:
    """A wake-up that is there already, or `None`."""
    try:
        async with asyncio.timeout(0.03):
            return await anext(changes)
    except TimeoutError:
        return None


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """Make calls side by side: what each returned or raised, in their order."""

    async def outcome(call: Awaitable[Any]) -> Any:
        try:
            return await call
        except Exception as error:
            return error

    async with Scope("together") as scope:
        tasks = [scope.spawn(outcome(call), name="call") for call in calls]
        return [await task for task in tasks]


async def soon(awaitable: Awaitable[T]) -> T:
    """The outcome of something that must not take long."""
    async with asyncio.timeout(LONG):
        return await awaitable


async def turns(count: int = 20) -> None:
    """Let the event loop turn, for what needs no more than that."""
    for _ in range(count):
        await asyncio.sleep(0)
