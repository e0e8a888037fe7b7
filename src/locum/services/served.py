"""The state as requests have it: what becomes of their transactions is noted for whoever answers them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from locum.services.deeds import current_deeds
from locum.state.commits import LIMIT
from locum.state.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.state.transaction import Transaction

__all__ = ["ServedState"]


class ServedState(State):
    """The state of a partition, as one replica has it."""

    @asynccontextmanager
    async def transaction(self, *, key: str | None = None, timeout: float = LIMIT) -> AsyncIterator[Transaction]:
        """As any state's."""
        deeds = current_deeds()
        try:
            async with super().transaction(key=key, timeout=timeout) as tx:
                yield tx
        except Exception as error:
            if deeds is not None:
                deeds.failed(error)
            raise
        if deeds is not None:
            deeds.committed()
