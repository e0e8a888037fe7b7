"""Work that is done in slices, between which the event loop has its turn."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["SLICE", "Pace"]

SLICE: Final = 1000
"""Keys that are taken in at a time, in some milliseconds."""


class Pace:
    """How much has been done since others had their turn."""

    def __init__(self) -> None:
        self._done = 0

    async def did(self, much: int) -> None:
        """So many keys were taken in: others have their turn if that makes a slice."""
        self._done += much
        if self._done >= SLICE:
            self._done = 0
            await asyncio.sleep(0)
