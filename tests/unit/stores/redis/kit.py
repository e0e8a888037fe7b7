"""What these tests share: stores on a server, open for the length of a block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from locum.clock import Clock
from locum.registry import make_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.store import Seen
    from locum.stores.redis import RedisStore

__all__ = ["PASSWORD", "made", "opened"]

PASSWORD = "c4n4ry"  # noqa: S105 - of servers that live as long as these tests


def made(url: str, *, namespace: str = "billing", clock: Clock | None = None) -> RedisStore:
    """A store that is not open."""
    store = cast("RedisStore", make_store(url, namespace=namespace, clock=clock or Clock()))
    store.call_timeout = 10.0
    return store


@asynccontextmanager
async def opened(
    url: str, *, namespace: str = "billing", clock: Clock | None = None, seen: Seen | None = None
) -> AsyncIterator[RedisStore]:
    """A store that is open."""
    store = made(url, namespace=namespace, clock=clock)
    store.seen = seen
    try:
        await store.open()
        yield store
    finally:
        await store.close()
