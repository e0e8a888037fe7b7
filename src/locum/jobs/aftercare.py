"""What an instance does about runs that nobody goes on with, and about what was over long ago."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.errors import StoreError
from locum.jobs.deaths import Deaths
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from locum.clock import Clock
    from locum.jobs.database import JobDatabase
    from locum.keeper.lease import Lease
    from locum.store import Store

__all__ = ["Aftercare"]

_log = logger("jobs")
_SESSIONS: Final = "session/"
_EVERY: Final = 1.0
_EVERY_QUIET: Final = 10.0
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

    def is_due(self, *, has_claims: bool) -> bool:
        """Whether a second has passed since the last look; or ten, if nobody has claimed anything.

        Args:
            has_claims: Whether somebody has, as far as is known.
        """
        every = _EVERY if has_claims else _EVERY_QUIET
        return self._looked_at is None or seconds(self._clock.now() - self._looked_at) >= every

    def hurry(self) -> None:
        """There may be something to look after now."""
        self._looked_at = None

    async def hear(self, told: Callable[[], object]) -> None:
        """Tell whenever a session has come or gone, until it is cancelled.

        By a beat, at which instances look at each other, what one has left would be known of up to a second later.
        """
        while True:
            try:
                async with self._store.changes([_SESSIONS]) as changes:
                    async for change in changes:
                        if change.keys:  # else nothing is known to have changed: that is looked at each second anyway
                            told()
            except StoreError as error:
                _log.debug("sessions are only looked at now and then: %s", error)
                await self._clock.sleep(_EVERY)

    async def look(
        self,
        database: JobDatabase,
        lease: Lease,
        *,
        known: AbstractSet[tuple[str, int]],
        stuck: AbstractSet[tuple[str, int]],
    ) -> bool:
        """Let others go on with what dead sessions have claimed, and with what nobody here knows of.

        Args:
            database: The job database.
            lease: This instance's.
            known: Runs that are executed here, with their tokens, or whose end is not written yet, under any session.
            stuck: Those whose body would not end: they are this instance's until its session is closed (R19).

        Returns:
            Whether there is something to go on with.

        Raises:
            StoreError: A store did not answer.
        """
        self._looked_at = self._clock.now()
        ledger, recovered = database.ledger, 0
        claiming, enlisted = await database.transact(lambda db: (ledger.sessions(db), ledger.enlisted(db)))
        if lease.session in claiming:
            # an answer that was lost may have claimed for us what nobody here knows of (R17)
            recovered += await database.transact(lambda db: ledger.put_back(db, lease.session, but=known | stuck))
        others = sorted({*claiming, *enlisted} - {lease.session})
        if not others:
            return bool(recovered)
        told = await self._store.sessions(others)
        over = self._deaths.among(others, told, now=self._clock.now())
        if over:
            await database.transact(lambda db: ledger.forget(db, over))
        for session in over:
            many = await database.transact(functools.partial(ledger.recover, session=session, but=known))
            recovered += many
            if many:
                _log.warning("%d runs of a session that is over begin anew", many)
        return bool(recovered)

    async def purge(self, database: JobDatabase, kept: Mapping[str, float]) -> None:
        """Now and then let go of what was over long ago, slice by slice, until it is cancelled.

        Args:
            database: The job database.
            kept: For how many days that of some jobs is kept.
        """
        while True:
            try:
                is_full = await database.transact(functools.partial(database.ledger.purge, kept=kept))
            except StoreError as error:
                _log.debug("old history is kept for now: %s", error)
                is_full = False
            await self._clock.sleep(_BETWEEN_SLICES if is_full else _EVERY_PURGE)
