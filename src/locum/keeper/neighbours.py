"""Looking after the other instances: witnesses those of this machine, observes all; and after a quarantine.

One query a beat serves for all of them, and one more after each change of a session, so that a new neighbour is
witnessed from its first moment on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.errors import CorruptRecordError, StoreError
from locum.keeper.observer import Observer
from locum.keeper.owner import Ending, Owner
from locum.keeper.quarantine import Quarantine
from locum.keeper.witness import Witness
from locum.scopes import Scope
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from locum.clock import Clock
    from locum.keeper.budget import Budget
    from locum.keeper.memory import Memory
    from locum.store import Sessions, SessionStatus, Store

__all__ = ["Neighbours"]

_log = logger("keeper.neighbours")


class Neighbours:
    """Sees to it that the session of every dead instance is closed.

    Args:
        store: Where the sessions live.
        budget: Of this instance's session: how often to look.
        clock: On which foreign beats are watched.
        own: The id of this instance's session, which changes over time.
        key: This process's machine key, as text.
        memory: Told of the longest TTL.
        joined: Told of each owner that was not there before.
        gone: Told of each owner that is not there any more, and how it ended, in words.
    """

    def __init__(
        self,
        store: Store,
        *,
        budget: Budget,
        clock: Clock,
        own: Callable[[], str | None],
        key: str,
        memory: Memory,
        joined: Callable[[Owner], object],
        gone: Callable[[Owner, str], object],
    ) -> None:
        self._store, self._budget, self._clock, self._own, self._key = store, budget, clock, own, key
        self._memory, self._joined, self._gone = memory, joined, gone
        self._known: dict[str, Owner] = {}
        self._observer, self._quarantine = Observer(), Quarantine()

    async def watch(self) -> None:
        """Watch for ever; to be run as a task."""
        async with Scope("neighbours", on_error=_log_failure) as scope:
            witness = Witness(self._store, clock=self._clock, scope=scope)
            while True:
                await self._look(witness)
                await self._clock.sleep(seconds(self._budget.beat))

    async def _look(self, witness: Witness) -> None:
        try:
            sessions = await self._store.sessions()
        except StoreError as error:
            _log.debug("the neighbours cannot be seen: %s", error)
            return
        arrived = self._clock.now()
        self._memory.see(max_ttl=sessions.max_ttl)
        await self._lift_quarantine(sessions, arrived)
        own = self._own()
        others = _owners((session for session in sessions.by_id.values() if session.id != own), self._known)
        await self._tell(others)
        witness.forget(set(sessions.by_id))
        before_us = [one for one, owner in others.items() if own is not None and one < own and witness.can_see(owner)]
        for session_id, owner in others.items():
            turn = len(before_us) - (session_id in before_us)
            witness.watch(sessions.by_id[session_id], owner, turn=turn)
        for silent in self._observer.see(sessions, arrived=arrived, own=own):
            ending = Ending(f"fell silent for {seconds(silent.waited):.1f} s", self._clock.now(), self._key)
            try:
                await self._store.close_if_silent(silent.id, beat=silent.beat, reason=ending.to_bytes())
            except StoreError as error:
                _log.debug("a silent session was not closed: %s", error)

    async def _lift_quarantine(self, sessions: Sessions, arrived: int) -> None:
        incarnation = self._quarantine.see(sessions, arrived=arrived)
        if incarnation is None:
            return
        try:
            await self._store.lift_quarantine(incarnation)
        except StoreError as error:
            _log.debug("the quarantine was not lifted: %s", error)

    async def _tell(self, others: dict[str, Owner]) -> None:
        """Tell who has come and who has gone since the last look."""
        known, self._known = self._known, others
        for session_id, owner in others.items():
            if session_id not in known:
                self._joined(owner)
        gone = [session_id for session_id in known if session_id not in others]
        if not gone:
            return
        try:
            tombstones = (await self._store.sessions(gone)).by_id
        except StoreError:
            tombstones = {}
        for session_id in gone:
            reason = tombstones[session_id].reason if session_id in tombstones else b""
            self._gone(known[session_id], Ending.from_bytes(reason).why)


def _owners(sessions: Iterable[SessionStatus], known: Mapping[str, Owner]) -> dict[str, Owner]:
    owners = {}
    for session in sessions:
        try:
            owners[session.id] = known.get(session.id) or Owner.from_bytes(session.owner)  # a session keeps its owner
        except CorruptRecordError as error:
            _log.warning("session %s is only observed: %s", session.id, error)
    return owners


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed: %r", task, error)
