"""The way between one connection and its server; this one is straight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Wire"]

T = TypeVar("T")


class Wire:
    """Carries requests to a server, its answers back, and its wake-ups; loses and delays nothing.

    A simulation derives its own: a request that is not made was lost on the way there, one that is made twice was
    duplicated, and an answer that is not given back was lost on the way back.
    """

    async def carry(self, call: str, request: Callable[[], T]) -> T:
        """Make a request at the server, and bring back what it answers or raises.

        The event loop turns once on the way there and once on the way back, as on any other way: whoever is cancelled
        meanwhile does not know whether it was done.

        Args:
            call: The name of the call, such as `write`.
            request: What the server does, as one step.
        """
        await asyncio.sleep(0)
        answer = request()
        await asyncio.sleep(0)
        return answer

    def push(self, wake_up: Callable[[], None]) -> None:
        """Bring a wake-up of the server's to the connection; one that is lost is made up for by the poll interval."""
        wake_up()
