"""The quarantine of a new incarnation, as one instance watches it (R25).

A store that was wiped, exchanged or put back has forgotten who was at work. Nothing is granted in it until somebody has
watched it for the longest TTL: by then each of them has met its own deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locum.store import Sessions

__all__ = ["Quarantine"]


class Quarantine:
    """Remembers since when an incarnation is watched. Without I/O: it is fed with answers and asked for verdicts."""

    def __init__(self) -> None:
        self._incarnation = ""
        self._since = 0

    def see(self, sessions: Sessions, *, arrived: int) -> str | None:
        """Take in an answer.

        Args:
            sessions: The answer.
            arrived: When it arrived (boot clock, ns).

        Returns:
            The incarnation whose quarantine may be lifted now, if that is so.
        """
        if not sessions.quarantined:
            self._incarnation = ""
            return None
        if sessions.incarnation != self._incarnation:
            self._incarnation, self._since = sessions.incarnation, arrived
        return sessions.incarnation if arrived - self._since >= sessions.max_ttl else None
