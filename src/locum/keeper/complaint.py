"""Telling of a store that is not there: at once, and then now and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.clock import Clock

__all__ = ["Complaint"]

_log = logger("keeper")
_EVERY: Final = nanoseconds(15)


class Complaint:
    """Tells of a store that is not there: at once, and then every 15 s.

    Args:
        name: The instance that waits.
        clock: Counts the seconds.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock, self._last = name, clock, 0

    def tell(self, why: str) -> None:
        """The store is not there, and why."""
        now = self._clock.now()
        if not self._last or now - self._last > _EVERY:
            self._last = now
            _log.warning("%s waits for its store: %s", self._name, why)

    def clear(self) -> None:
        """The store is there."""
        if self._last:
            _log.warning("%s has its store.", self._name)
        self._last = 0
