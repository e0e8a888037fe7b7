"""Wake-ups: at least one after every change."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from locum.errors import ConflictError
from locum.names import random_id
from locum.scopes import Scope, happens
from locum.store import ABSENT, ANY
from locum.testing.conformance.contract import Contract, promises
from locum.testing.conformance.kit import (
    LONG,
    TTL,
    heard,
    no_wake_up,
    open_one,
    quiet,
    turns,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.store import Change, Store
    from locum.testing.conformance.contract import Connect

__all__ = ["WakeUpContract"]


class WakeUpContract(Contract):
    """What is promised of `changes`."""

    # -- wake-ups

    @promises("pushed_changes")
    @pytest.mark.parametrize("kind", ["create", "write", "delete", "dropped", "bound"])
    async def test_every_kind_of_change_wakes(self, connect: Connect, kind: str) -> None:
        store, other = await connect(), await connect()
        session = await open_one(other)
        if kind != "create":
            await other.write("p/a", b"", expect=ABSENT, session=session if kind == "bound" else None)
        async with quiet(store, ["p/"]) as changes:
            if kind in ("create", "write"):
                await other.write("p/a", b"new", expect=ANY)
            elif kind == "delete":
                await other.delete("p/a", expect=ANY)
            elif kind == "dropped":
                await other.write("q", b"", expect=ANY, drop="p/a")
            else:
                await other.close_session(session, reason=b"")
            change = await heard(store, changes)
            assert change.keys <= {"p/a"}

    @pytest.mark.parametrize("kind", ["open", "close"])
    async def test_every_change_of_a_session_wakes(self, connect: Connect, kind: str) -> None:
        store, other = await connect(), await connect()
        session = random_id()
        if kind != "open":
            await other.open_session(b"me", TTL, session)
        async with quiet(store, ["session/"]) as changes:
            if kind == "open":
                await other.open_session(b"me", TTL, session)
            else:
                await other.close_session(session, reason=b"")
            assert (await heard(store, changes)).keys <= {f"session/{session}"}

    async def test_there_is_one_after_every_change(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            for turn in range(20):
                written = await other.write("p/a", bytes([turn]), expect=ANY)
                while (found := await store.read("p/a")) is None or found.revision < written.revision:
                    await heard(store, changes)
                await heard(store, changes)

    async def test_a_beat_wakes_nobody(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        session = await open_one(other)
        async with no_wake_up(store, ["session/"]):
            await other.beat(session, 1)

    async def test_other_keys_wake_nobody(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with no_wake_up(store, ["p/a/"]):
            await other.write("p/ab", b"", expect=ANY)
            await other.write("q", b"", expect=ANY)

    async def test_what_changes_nothing_wakes_nobody(self, store: Store) -> None:
        await store.write("p/a", b"", expect=ABSENT)
        session = await open_one(store)
        await store.close_session(session, reason=b"")
        async with no_wake_up(store, ["p/", "session/"]):
            with pytest.raises(ConflictError):
                await store.write("p/a", b"", expect=ABSENT)
            await store.delete("p/b", expect=ANY)
            await store.close_session(session, reason=b"again")

    async def test_a_cancelled_wait_loses_none(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            async with Scope("wait") as scope:
                waiting = scope.spawn(_next(changes), name="next")
                await turns()
            assert waiting.cancelled()
            await other.write("p/a", b"", expect=ANY)
            await heard(store, changes)

    async def test_a_change_before_the_wait_begins_is_not_lost(self, connect: Connect) -> None:
        store, other = await connect(), await connect()
        async with store.changes(["p/"]) as changes:
            await other.write("p/a", b"", expect=ANY)
            await other.write("p/b", b"", expect=ANY)
            await heard(store, changes)

    async def test_every_subscriber_of_a_connection_is_woken(self, store: Store) -> None:
        async with AsyncExitStack() as stack:
            waiting = [await stack.enter_async_context(store.changes([prefix])) for prefix in ("p", "p/", "p/a", "")]
            await store.write("p/a", b"", expect=ANY)
            for changes in waiting:
                await heard(store, changes)

    async def test_several_prefixes_are_heard(self, store: Store) -> None:
        async with store.changes(["p/", "q/"]) as changes:
            await store.write("q/a", b"", expect=ANY)
            await heard(store, changes)
            await store.write("p/a", b"", expect=ANY)
            await heard(store, changes)

    @promises("poll_interval")
    async def test_one_comes_at_least_every_poll_interval_even_if_nothing_changes(self, store: Store) -> None:
        async with store.changes(["p/"]) as changes:
            assert await happens(anext(changes), within=store.guarantees().poll_interval + LONG)


async def _next(changes: AsyncIterator[Change]) -> Change:
    return await anext(changes)
