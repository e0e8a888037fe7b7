"""Connections to a PostgreSQL that one statement at a time is said to, each of which is prepared once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

__all__ = ["Teller", "Tellers"]

_Library: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_MOST: Final = 2


class Teller:
    """One connection."""

    def __init__(self, connection: _Library) -> None:
        self._connection = connection
        self._prepared: dict[str, Any] = {}

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be said to it any more."""
        return self._connection.is_closed()

    async def say(self, text: str, given: Sequence[Any]) -> Any:
        """Say a statement; the first row of its answer, or `None`."""
        prepared = self._prepared.get(text)
        if prepared is None:
            prepared = self._prepared[text] = await self._connection.prepare(text)
        return await prepared.fetchrow(*given)

    def cut(self) -> None:
        """End it at once."""
        self._connection.terminate()


class Tellers:
    """A few connections, of which each is somebody's for one statement.

    Args:
        connect: Makes one.
    """

    def __init__(self, connect: Callable[[], Awaitable[_Library]]) -> None:
        self._connect = connect
        self._free: list[Teller] = []
        self._places = asyncio.Semaphore(_MOST)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Teller]:
        """One of them; it is cut if anything goes wrong, for nobody knows what it would answer next."""
        async with self._places:
            while self._free and self._free[-1].is_closed:
                self._free.pop()
            teller = self._free.pop() if self._free else Teller(await self._connect())
            try:
                yield teller
            except BaseException:
                teller.cut()
                raise
            self._free.append(teller)

    def close(self) -> None:
        """End them all."""
        while self._free:
            self._free.pop().cut()
