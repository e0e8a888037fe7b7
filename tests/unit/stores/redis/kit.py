"""What these tests share: stores on a Redis, known as that."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from tests.unit.stores import kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.stores.redis import RedisStore

__all__ = ["made", "opened"]


def made(url: str, **wishes: Any) -> RedisStore:
    """A store that is not open."""
    return cast("RedisStore", kit.made(url, **wishes))


@asynccontextmanager
async def opened(url: str, **wishes: Any) -> AsyncIterator[RedisStore]:
    """A store that is open."""
    async with kit.opened(url, **wishes) as store:
        yield cast("RedisStore", store)
