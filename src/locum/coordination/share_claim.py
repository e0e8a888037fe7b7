"""One acquisition of one scope together with others: a read, or a permit.

Those who hold it stand in its grant, each as {session, attempt}; joining and leaving is the same compare-and-set on
that one key by which it is held alone, so no two can join where there is room for one. Whoever joins drops those whose
sessions are gone (R11).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.coordination.candidacy import Candidacy, why_not
from locum.coordination.grant import Grant
from locum.coordination.hold import Share
from locum.errors import ConflictError, SessionLostError, StoreError
from locum.floor import Floor
from locum.scopes import Backoff
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.commons import Commons
    from locum.coordination.lookout import View
    from locum.coordination.turn import Manner
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["ShareClaim"]

_log = logger("coordination.share_claim")


class ShareClaim(Candidacy):
    """One acquisition.

    Args:
        commons: Whose it is.
        scope: What is to be held.
        name: What it is called, for people.
        manner: How it is held.
        make_share: Makes the hold.
    """

    def __init__(
        self, commons: Commons, scope: str, name: str, manner: Manner, make_share: Callable[..., Share] = Share
    ) -> None:
        super().__init__(commons, scope, manner=manner, eyes=1)
        self._name, self._make_share = name, make_share

    async def win(self, lease: Lease, *, patient: bool = True) -> Share:
        """Stand in line under a lease, join when it is our turn, and leave the line.

        Raises:
            NotOurTurnError: It is not our turn at the first look, and we are not patient.
            SessionLostError: The session ended meanwhile.
        """
        _, record = await self._stand_and_take(lease, patient=patient)
        share = self._make_share(
            self._name, scope=self._scope, instance=self._commons.instance, lease=lease, clock=self._clock
        )
        try:
            await self._arm(lease, Grant.of(record).token)
            if self._handle is None or not share.is_current:
                raise SessionLostError(f"the lease ran out before {self._scope} was held")
        except BaseException as error:
            self.let_go(share, why_not(error))
            raise
        return share

    async def release(self, share: Share, why: str) -> None:
        """Leave those who hold it, after the body has ended; it goes on even if the caller no longer waits (R16)."""
        await asyncio.wait([self.let_go(share, why)])

    def let_go(self, share: Share, why: str) -> asyncio.Task[None]:
        """The same, for who does not wait for it."""
        share.end(why)
        self._disarm()
        return self._commons.settle(self._withdraw(share.lease), f"release {self._scope}")

    def rest(self) -> None:
        """The body has ended, and the share is kept."""
        self._disarm()

    def abandon(self, share: Share) -> None:
        """It is over and the session with it, whose close tells: nothing is released."""
        share.end("lost its lease")
        self._disarm()
        self._commons.attempts.discard(self._attempt)

    async def _withdraw(self, lease: Lease) -> None:
        """Take this acquisition out of the grant, whatever else changes there meanwhile."""
        backoff = Backoff(0.002, seconds(lease.budget.beat))
        while not lease.is_lost:  # then whoever joins next drops it
            try:
                record = await self._store.read(self._key)
                grant = Grant.of(record)
                if record is None or not grant.is_shared_by(self._attempt):
                    break
                left = grant.without(self._attempt)
                written = await self._store.write(self._key, left.to_bytes(), expect=record.revision)
            except ConflictError:
                await self._clock.sleep(backoff.delay())
            except StoreError as error:
                _log.debug("%s: %s", self._scope, error)
                await self._clock.sleep(backoff.delay())
            else:
                if not left.occupants:
                    self._commons.is_idle(self._scope, Grant.of(written), lease)
                break
        self._commons.attempts.discard(self._attempt)

    # -- what differs from a hold alone

    _leaves_at_once = True  # whoever is next watches this place, and may have room too

    async def _floor(self) -> Floor:
        return Floor()  # no token is given out: the one that stands there stays

    def _taken(self, view: View, floor: Floor, lease: Lease) -> Grant:
        del floor
        return view.grant.shared_with(self._holder(lease), gone=view.gone)

    def _has(self, grant: Grant) -> bool:
        return grant.is_shared_by(self._attempt)

    async def _undo(self, taking: asyncio.Task[Record | None], lease: Lease) -> None:
        await asyncio.wait([taking])
        self._disarm()
        if not taking.cancelled() and taking.exception() is None and taking.result() is not None:
            await self._withdraw(lease)
