"""What tests of servers' stores share: stores, open for the length of a block, and what is said of others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from locum.clock import Clock, nanoseconds
from locum.errors import ConfigurationError, StoreUnavailableError
from locum.names import random_id
from locum.registry import make_store
from locum.store import ABSENT, ANY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.store import Seen, Store

__all__ = ["PASSWORD", "TTL", "absence", "made", "opened", "refusal", "session_of", "use"]

PASSWORD: Final = "c4n4ry"  # noqa: S105 - of servers that live as long as these tests
TTL: Final = nanoseconds(6)


def made(url: str, *, namespace: str = "billing", clock: Clock | None = None, timeout: float = 10.0) -> Store:
    """A store that is not open."""
    store = make_store(url, namespace=namespace, clock=clock or Clock())
    store.call_timeout = timeout
    return store


@asynccontextmanager
async def opened(
    url: str, *, namespace: str = "billing", clock: Clock | None = None, seen: Seen | None = None
) -> AsyncIterator[Store]:
    """A store that is open."""
    store = made(url, namespace=namespace, clock=clock)
    store.seen = seen
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def session_of(store: Store) -> str:
    """A session that was just opened."""
    session = random_id()
    await store.open_session(b"me", TTL, session)
    return session


async def use(store: Store) -> None:
    """Do all that an instance does."""
    session = random_id()
    await store.open_session(b"", nanoseconds(3), session)
    await store.beat(session, 1)
    made = await store.write("a", b"1", expect=ABSENT, session=session)
    await store.write("a", b"2", expect=made.revision, if_open=session)
    async with store.changes([""]) as changes:
        await anext(changes)
    await store.close_session(session, reason=b"is done")
    await store.delete("a", expect=ANY)
    await store.renew(max_ttl=1)


async def refusal(url: str) -> str:
    """What is said of a store that cannot be right."""
    with pytest.raises(ConfigurationError) as refusal:
        async with opened(url):
            pass
    assert PASSWORD not in str(refusal.value)
    return str(refusal.value)


async def absence(url: str, *, timeout: float = 10.0) -> str:
    """What is said of a store that is not there for now."""
    store = made(url, timeout=timeout)
    with pytest.raises(StoreUnavailableError) as absence:
        await store.open()
    await store.close()
    assert PASSWORD not in str(absence.value)
    return str(absence.value)
