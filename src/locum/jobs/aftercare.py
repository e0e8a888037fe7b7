"""What an instance does about runs that nobody goes on with, and about what was over long ago."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.errors import StoreError
from locum.jobs.deaths import Deaths
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from locum.clock import Clock
    from locum.jobs.database import Database
    from locum.keeper.lease import Lease
    from locum.store import Store

__all__ = ["Aftercare"]

_log = logger("jobs")
_EVERY: Final = 1.0
_EVERY_PURGE: Final = 600.0
_BETWEEN_SLICES: Final = 0.1


class Aftercare:
    """Looks after the runs of sessions that are over.

    Args:
        store: Tells of sessions.
        clock: Counts pauses.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._deaths = Deaths()
        self._looked_at: int | None = None

    async def look(
        self,
        database: Database,
        lease: Lease,
        *,
        known: AbstractSet[tuple[str, int]],
        stuck: AbstractSet[tuple[str, int]],
    ) -> None:
        """Once a second: let others go on with what dead sessions have claimed, and with what nobody here knows of.

        Args:
            database: The job database.
            lease: This instance's.
            known: Runs that are executed here, with their tokens, or whose end is not written yet, under any session.
            stuck: Those whose body would not end: they are this instance's until its session is closed (R19).

        Raises:
            StoreError: A store did not answer.
        """
        now = self._clock.now()
        if self._looked_at is not None and seconds(now - self._looked_at) < _EVERY:
            return
        self._looked_at = now
        ledger = database.ledger
        claiming = await database.transact(ledger.sessions)
        if lease.session in claiming:
            # an answer that was lost may have claimed for us what nobody here knows of (R17)
            await database.transact(lambda db: ledger.put_back(db, lease.session, but=known | stuck))
        others = [session for session in claiming if session != lease.session]
        if not others:
            return
        told = await self._store.sessions(others)
        for session in self._deaths.among(others, told, now=self._clock.now()):
            many = await database.transact(functools.partial(ledger.recover, session=session, but=known))
            if many:
                _log.warning("%d runs of a session that is over begin anew", many)

    async def purge(self, database: Database) -> None:
        """Now and then let go of what was over long ago, slice by slice, until it is cancelled."""
        while True:
            try:
                is_full = await database.transact(database.ledger.purge)
            except StoreError as error:
                _log.debug("old history is kept for now: %s", error)
                is_full = False
            await self._clock.sleep(_BETWEEN_SLICES if is_full else _EVERY_PURGE)
