"""Which of the sessions that runs are claimed under are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from locum.store import Sessions

__all__ = ["Deaths"]


class Deaths:
    """Remembers since when nothing is known of a session. Without I/O: it is told what the store has said."""

    def __init__(self) -> None:
        self._unknown: dict[str, int] = {}

    def among(self, asked: Collection[str], told: Sessions, *, now: int) -> list[str]:
        """Those that are over: a tombstone says so, or nothing was known of one for the longest TTL (R11).

        Args:
            asked: The sessions.
            told: What the store has answered.
            now: On this machine's own clock, after the answer has come.
        """
        if told.quarantined:
            return []
        over, unknown = [], {}
        for session in asked:
            status = told.by_id[session]
            if status.is_closed:
                over.append(session)
            elif not status.is_open:
                unknown[session] = self._unknown.get(session, now)
                if now - unknown[session] >= told.max_ttl:
                    over.append(session)
        self._unknown = unknown
        return over
