"""The sessions: rows that beat, and tombstones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from locum.clock import NANOSECONDS
from locum.errors import ConflictError, SessionClosedError, StoreError
from locum.identity import MachineKey
from locum.store import SessionInfo, Sessions, SessionState, SessionStatus, check_session
from locum.stores.sight import RENEWED
from locum.stores.sql.words import OPEN
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from locum.clock import Clock
    from locum.stores.sql.asking import Asking

__all__ = ["LEAST_TTL", "SessionTable", "closed"]

_log = logger("stores.sql")
LEAST_TTL: Final = 0.5
"""Seconds."""
_TOMBSTONE_AGE: Final = 24 * 3600  # seconds


class SessionTable:
    """The sessions of one namespace.

    Args:
        asking: How the server is asked.
        clock: Measures the age of tombstones.
    """

    def __init__(self, asking: Asking, clock: Clock) -> None:
        self._asking, self._clock = asking, clock
        self._key = MachineKey.of_this_process()

    async def open(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        check_session(session_id, owner)
        granted = max(ttl, round(LEAST_TTL * NANOSECONDS))
        asking, deadline = self._asking, self._asking.deadline()
        while True:
            row = await asking.change(
                "open_session",
                asking.say.open_session,
                lease=True,
                deadline=deadline,
                id=session_id,
                session_key=f"session/{session_id}",
                owner=owner,
                ttl=granted,
                nothing=b"",
            )
            if row is not None:
                await self._forget_old_tombstones(deadline)
                return SessionInfo(session_id, granted, asking.incarnation)
            status = await self._status(session_id, deadline)
            if status.is_closed:
                raise closed(status)
            if status.is_open:
                return SessionInfo(session_id, status.ttl, asking.incarnation)

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        asking, deadline = self._asking, self._asking.deadline()
        rows = await asking.ask(
            "beat", asking.say.beat, changes=True, lease=True, deadline=deadline, id=session_id, number=number
        )
        if rows:
            return
        status = await self._status(session_id, deadline)
        if not status.is_open:
            raise closed(status)
        raise ConflictError(
            f"session/{session_id}", None, f"its beat {number} is not newer than the last: a twin beats for it"
        )

    async def close(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        deadline = self._asking.deadline()
        while not await self._close(session_id, None, reason, deadline):
            if not (await self._status(session_id, deadline)).is_open:
                return

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        deadline = self._asking.deadline()
        if await self._close(session_id, beat, reason, deadline):
            return True
        return (await self._status(session_id, deadline)).is_closed

    async def statuses(self, ids: Iterable[str] | None, *, lease: bool, deadline: int) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(dict.fromkeys(ids))
        say = self._asking.say
        rows, found = await self._asking.look(
            "sessions",
            say.open_sessions if wanted is None else say.sessions,
            lease=lease,
            deadline=deadline,
            ids=" ".join(wanted or ()),
        )
        by_id = {row["id"]: _status(row) for row in rows if row["id"] is not None}
        if wanted is not None:
            by_id = {one: by_id.get(one) or SessionStatus(one, SessionState.UNKNOWN) for one in wanted}
        quarantined = rows[0]["state"] != OPEN
        return Sessions(by_id, found.revision, found.incarnation, int(rows[0]["max_ttl"]), quarantined)

    # -- inside

    async def _status(self, session_id: str, deadline: int) -> SessionStatus:
        return (await self.statuses([session_id], lease=True, deadline=deadline)).by_id[session_id]

    async def _close(self, session_id: str, beat: int | None, reason: bytes, deadline: int) -> bool:
        say = self._asking.say
        row = await self._asking.change(
            "close_session" if beat is None else "close_if_silent",
            say.close if beat is None else say.close_if_silent,
            lease=True,
            deadline=deadline,
            id=session_id,
            session_key=f"session/{session_id}",
            beat=beat,
            reason=reason,
        )
        return row is not None

    async def _forget_old_tombstones(self, deadline: int) -> None:
        """Forget the tombstones that are old enough; that may as well fail."""
        say = self._asking.say
        asked: dict[str, Any] = {
            "changes": True,
            "lease": True,
            "deadline": deadline,
            "clock": f"{self._key.boot}/{self._key.time_namespace}",
            "now": self._clock.now() // NANOSECONDS,
        }
        try:
            await self._asking.ask("forget", say.watch_generation, **asked)
            if await self._asking.ask("forget", say.next_generation, age=_TOMBSTONE_AGE, **asked):
                for statement in (say.forget_gone, say.forget):
                    await self._asking.ask("forget", statement, **asked)
        except StoreError as error:
            _log.debug("no tombstone was forgotten: %s", error)


def closed(status: SessionStatus) -> SessionClosedError:
    """The error for one who needs a session that is not open."""
    return SessionClosedError(status.id, status.reason.decode("utf-8", "replace"))


def _status(row: Mapping[str, Any]) -> SessionStatus:
    state = SessionState.CLOSED if row["closed"] else SessionState.OPEN
    reason = row["reason"] if row["buried"] or not row["closed"] else RENEWED
    return SessionStatus(row["id"], state, row["owner"], row["ttl"], row["beat"], reason)
