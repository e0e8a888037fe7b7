"""An ear that stays open: what others have to say is heard again after each time that it could not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.errors import StoreError
from locum.scopes import Backoff
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.databases.database import Database

__all__ = ["hear"]

_log = logger("databases")


async def hear(database: Database[Any], wake: Callable[[], object], clock: Clock) -> None:
    """Call something whenever an instance has something for others, for ever; what is not heard is seen by looking."""
    backoff = Backoff(0.5, 15.0)
    while True:
        try:
            await database.listen(wake)
            backoff.reset()
        except StoreError as error:
            _log.debug("others are not heard for now: %s", error)
        await clock.sleep(backoff.delay())
