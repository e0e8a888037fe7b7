"""Foreign beats on one's own clock (R8): how the silent are told from the living where no witness can be.

An observation is made when an answer *arrives*, and the wait counts from there; only then is a close sent, and only on
the very beat that was watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locum.store import Sessions

__all__ = ["Observer", "Silent"]


@dataclass(frozen=True, slots=True)
class Silent:
    """A session whose beat was unchanged for its whole TTL.

    Attributes:
        id: The session.
        beat: The beat that was watched.
        waited: For how long, in nanoseconds.
    """

    id: str
    beat: int
    waited: int


@dataclass(frozen=True, slots=True)
class _Sight:
    incarnation: str
    beat: int
    at: int


class Observer:
    """Remembers when each foreign beat was first seen. Without I/O: it is fed with answers and asked for verdicts."""

    def __init__(self) -> None:
        self._sights: dict[str, _Sight] = {}

    def see(self, sessions: Sessions, *, arrived: int, own: str | None) -> list[Silent]:
        """Take in an answer that held all open sessions.

        Args:
            sessions: The answer.
            arrived: When it arrived (boot clock, ns).
            own: The session of this instance, which is not observed.

        Returns:
            The sessions that may be closed now, on the beat that was watched.
        """
        silent = []
        sights: dict[str, _Sight] = {}
        for session in sessions.by_id.values():
            if session.id == own or not session.is_open or session.beat is None:
                continue  # a native session, or one of unknown kind, is never observed (R7)
            before = self._sights.get(session.id)
            if before is None or (before.incarnation, before.beat) != (sessions.incarnation, session.beat):
                before = _Sight(sessions.incarnation, session.beat, arrived)
            sights[session.id] = before
            waited = arrived - before.at
            if waited >= session.ttl:
                silent.append(Silent(session.id, session.beat, waited))
        self._sights = sights
        return silent
