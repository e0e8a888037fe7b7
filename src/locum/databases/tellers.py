"""Connections to a PostgreSQL that one statement at a time is said to, each of which is prepared once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

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

    async def take(self) -> Teller:
        """One of them, for one statement: to be given back, or cut if anything goes wrong with it."""
        await self._places.acquire()
        try:
            while self._free:
                teller = self._free.pop()
                if not teller.is_closed:
                    return teller
            return Teller(await self._connect())
        except BaseException:
            self._places.release()
            raise

    def give_back(self, teller: Teller) -> None:
        """It has answered."""
        self._free.append(teller)
        self._places.release()

    def cut(self, teller: Teller) -> None:
        """It has not, and nobody knows what it would answer next."""
        teller.cut()
        self._places.release()

    async def say(self, text: str, given: Sequence[Any]) -> Any:
        """Say a statement by one of them; the first row of its answer, or `None`."""
        teller = await self.take()
        try:
            found = await teller.say(text, given)
        except BaseException:
            self.cut(teller)
            raise
        self.give_back(teller)
        return found

    def close(self) -> None:
        """End them all."""
        while self._free:
            self._free.pop().cut()
