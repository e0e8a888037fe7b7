"""Learning of a death from the kernel, for other instances of the same boot and namespaces (R9).

A witness closes a session only when keeper *and* worker are dead for certain and nothing of the worker's group is left.
What it cannot see for certain it leaves to the observers.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.errors import StoreError
from locum.identity import MachineKey, process_state, sees_own_processes, start_time
from locum.keeper.owner import Ending
from locum.keeper.processes import end_group
from locum.scopes import Backoff, Scope, both
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.clock import Clock
    from locum.identity import ProcessId
    from locum.keeper.owner import Owner
    from locum.store import SessionStatus, Store

__all__ = ["Witness"]

_log = logger("keeper.witness")
_TURN: Final = 0.015
"""Seconds that a witness has before the next one goes on."""
_TURNS: Final = 4
"""So many are waited for at the most."""


class Witness:
    """Watches the processes of other instances of this machine, and closes their sessions once all are gone.

    Args:
        store: Where the sessions live.
        clock: Tells when a death was seen.
        scope: Owns the watching tasks.
    """

    def __init__(self, store: Store, *, clock: Clock, scope: Scope) -> None:
        self._store, self._clock, self._scope = store, clock, scope
        self._key = MachineKey.of_this_process()
        # where /proc hides the processes of other users (hidepid), what is not found there proves nothing (R9)
        self._can_see = sees_own_processes() and process_state(1) is not None
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, SessionStatus] = {}
        self._turns: dict[str, int] = {}

    def can_see(self, owner: Owner) -> bool:
        """Whether this process may speak of the life and death of that owner's processes."""
        named = owner.keeper.start > 0 and owner.worker.start > 0
        return self._can_see and named and owner.key == self._key

    def watch(self, session: SessionStatus, owner: Owner, *, turn: int = 0) -> None:
        """Watch an owner until its session is closed; to be called again with each look at the session.

        Args:
            session: Its session, as it was seen.
            owner: Who has it.
            turn: How many other witnesses go first: all see the same death, and would only hold each other up.
        """
        self._last[session.id], self._turns[session.id] = session, turn
        if session.id not in self._watched and self.can_see(owner):
            self._watched[session.id] = self._scope.spawn(self._attend(session.id, owner), name=f"witness {owner.name}")

    def forget(self, still_open: set[str]) -> None:
        """Stop watching every session that is not among these."""
        for session_id in set(self._watched) - still_open:
            self._watched.pop(session_id).cancel()
        for session_id in set(self._last) - still_open:
            del self._last[session_id], self._turns[session_id]

    async def _attend(self, session_id: str, owner: Owner) -> None:
        await both(_death(owner.keeper), _death(owner.worker))
        ending = self._ending(session_id, owner)
        if await self._another_did(session_id):
            return
        backoff = Backoff(0.001, 0.02)
        # an embedded one shares its group with what its user runs beside it: a shell's job, a web server's processes
        while not owner.is_embedded and not end_group(owner.worker):
            await self._clock.sleep(backoff.delay())
        backoff = Backoff(0.02, 1.0)
        while True:
            try:
                await self._store.close_session(session_id, reason=ending.to_bytes())
            except StoreError as error:
                _log.debug("closing the session of %s, which died: %s", owner.name, error)
                await self._clock.sleep(backoff.delay())
            else:
                return

    async def _another_did(self, session_id: str) -> bool:
        """Leave the witnesses before us their time; whether one of them has closed it."""
        turn = min(self._turns[session_id], _TURNS)
        if not turn:
            return False
        await self._clock.sleep(turn * _TURN)
        try:
            return (await self._store.sessions([session_id])).by_id[session_id].is_closed
        except StoreError:
            return False

    def _ending(self, session_id: str, owner: Owner) -> Ending:
        """How it ended: at once, or after a silence, as one does that was frozen until its own timer ended it."""
        now, last = self._clock.now(), self._last[session_id]
        silent = now - last.beat if last.beat else 0  # a beat's number is its owner's reading of this very clock
        if silent < last.ttl // 2:
            return Ending("died: its processes are gone", now, str(self._key))
        words = f"fell silent for {seconds(silent):.1f} s"
        if owner.is_embedded and owner.enforcement == "kill" and 10 * silent >= 8 * last.ttl:
            words += ", and its own timer ended it"  # nobody stands above it who could have ended it sooner
        else:
            words += " until it was ended: its processes are gone"
        return Ending(words, now - silent, str(self._key))


async def _death(process: ProcessId) -> None:
    """Wait until a process of this machine key is dead for certain."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # read after the descriptor was opened: if it matches, the descriptor is of the process that is meant
        found = start_time(process.pid)
        if found is not None and found != process.start:
            return  # the pid has passed on to a later process
        await _fires(fd)
    finally:
        os.close(fd)


async def _fires(fd: int) -> None:
    loop = asyncio.get_running_loop()
    fired = asyncio.Event()
    loop.add_reader(fd, fired.set)
    try:
        await fired.wait()
    finally:
        loop.remove_reader(fd)
