"""Standing in line for one scope, and taking it when it is our turn: what every hold begins with, alone or together.

Read the grant, then the sessions that it names; room for us? compare-and-set; settle what got no answer.
"""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds, seconds
from locum.coordination.grant import Grant, Holder, grant_key
from locum.coordination.line import Entry, entry_key, line_prefix
from locum.coordination.lookout import Lookout
from locum.coordination.pause import Pause, pause_key
from locum.coordination.settling import Settling
from locum.coordination.turn import ALONE
from locum.coordination.watching import hear
from locum.errors import CoordinationError, NotOurTurnError, StoreError
from locum.floor import Floor
from locum.names import random_id
from locum.scopes import Backoff, both, finish
from locum.store import ABSENT, ANY
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.commons import Commons, Idle
    from locum.coordination.lookout import View
    from locum.coordination.turn import Manner
    from locum.keeper.lease import Lease
    from locum.store import Change, Record, Seen

__all__ = ["ROOM", "Candidacy", "why_not"]

_log = logger("coordination.candidacy")
ROOM: Final = 0.025
"""Seconds that everyone else leaves to whoever is to take a grant: they would only slow each other down."""


class Candidacy(ABC):
    """One acquisition, as far as it is the same for what is held alone and what is held together.

    Args:
        commons: Whose it is.
        scope: What is to be held.
        manner: How it is to be held.
        priority: Those with a higher one go before.
        eyes: How many of the line watch the grant: 2, so that one who is stuck at its head costs a claim window; 1, so
            that a change of hands wakes nobody but the next, and one who is stuck costs up to a TTL besides.
        can_be_paused: Whether somebody may have forbidden that it is taken over.
    """

    def __init__(
        self,
        commons: Commons,
        scope: str,
        *,
        manner: Manner = ALONE,
        priority: int = 0,
        eyes: int = 2,
        can_be_paused: bool = False,
    ) -> None:
        self._commons, self._scope = commons, scope
        self._store, self._clock = commons.store, commons.clock
        self._manner, self._priority, self._can_be_paused, self._eyes = manner, priority, can_be_paused, eyes
        self._attempt = random_id()
        self._key = grant_key(scope)
        self._entry_key = entry_key(scope, self._attempt)
        self._handle: int | None = None
        self._stands = False
        self._settling = Settling(scope, self._clock, commons.gate)
        self._lookout = Lookout(
            self._store, self._clock, scope, self._attempt, manner=manner, eyes=eyes, opened=commons.opened
        )

    @property
    def attempt(self) -> str:
        """The random id of this acquisition (R12)."""
        return self._attempt

    @property
    def _place_in_line(self) -> str | None:
        """The key of our place in line; `None` if we have none."""
        return self._entry_key if self._stands else None

    # -- what differs

    _leaves_at_once = False
    """Whether the place in line goes with the take, and not with the release."""

    @abstractmethod
    async def _floor(self) -> Floor:
        """The floor above which the token of a take must be (R20)."""

    @abstractmethod
    def _taken(self, view: View, floor: Floor, lease: Lease) -> Grant:
        """The grant as it is to be written."""

    @abstractmethod
    def _has(self, grant: Grant) -> bool:
        """Whether a grant says that this acquisition has it."""

    @abstractmethod
    async def _undo(self, taking: asyncio.Task[Record | None], lease: Lease) -> None:
        """Give up what a take brings that nobody waits for any more."""

    # -- the way in

    async def _stand_and_take(self, lease: Lease, *, patient: bool) -> tuple[View, Record]:
        """Stand in line under a lease, and take the grant when it is our turn.

        Raises:
            NotOurTurnError: It is not at the first look, and the candidate is not patient.
            SessionLostError: The session ended meanwhile.
        """
        self._commons.attempts.add(self._attempt)
        idle = self._commons.idle.pop(self._scope, None)
        try:
            taken = await self._take_at_once(idle, lease)
            if taken is not None:
                return taken
            await self._stand_in_line(lease)
            with self._commons.survey.waiting(self._scope):
                return await self._wait_for_turn(lease, patient=patient)
        except BaseException:
            self._commons.settle(self._leave(lease), f"leave the line of {self._scope}")
            raise

    async def _take_at_once(self, idle: Idle | None, lease: Lease) -> tuple[View, Record] | None:
        """Take it without a place in line, if that may be done; `None` if it is waited for in line."""
        del idle, lease
        return None

    async def _stand_in_line(self, lease: Lease) -> None:
        self._stands = True
        value = Entry.value(self._commons.instance, manner=self._manner.name, priority=self._priority)
        await self._settling.write(
            lambda: self._store.write(self._entry_key, value, expect=ABSENT, session=lease.session), None, lease
        )

    async def _wait_for_turn(self, lease: Lease, *, patient: bool) -> tuple[View, Record]:
        watch: tuple[str, ...] = (self._entry_key, self._key)
        if self._scope in self._commons.crowded:  # whoever knows what to watch before it looks, looks once
            watch = await self._settling.answer(self._lookout.foresee_watch, lease)
        again = Backoff(0.001, 0.02)
        while True:
            # the subscription stands before the look, so that nothing falls between the two
            async with self._store.changes(watch) as changes:
                while True:
                    seen = self._store.seen
                    view, foreseen = await self._settling.answer(
                        lambda: self._lookout.look(lease, self._foresee), lease
                    )
                    self._commons.remember(view.grant.token)
                    pause, floor = None, None
                    if view.is_our_turn(lease):
                        if foreseen is None:
                            foresee = functools.partial(self._foresee, view.grant)
                            foreseen = await self._settling.answer(foresee, lease)
                        pause, floor = foreseen
                    if floor is not None and pause is None:
                        record = await self._take(view, floor, lease)
                        if record is not None:
                            return view, record
                        await self._clock.sleep(again.delay())  # somebody was quicker, or a guard does not hold yet
                        continue
                    if not patient:
                        raise NotOurTurnError(self._scope)
                    now_watched = view.watch if pause is None else (*view.watch, pause)
                    if now_watched != watch:
                        watch = now_watched
                        break
                    patience = None if pause else view.patience(lease)
                    told = await self._hear(changes, view, lease, seen, patience=patience, paused=pause is not None)
                    if view.place.ahead and self._eyes > 1 and self._entry_key not in told:
                        await self._clock.sleep(ROOM)

    async def _foresee(self, grant: Grant) -> tuple[str | None, Floor]:
        """What a take needs besides, read after the grant (R20): what forbids it, and the floor."""
        return await both(self._pause(grant), self._floor())

    async def _pause(self, grant: Grant) -> str | None:
        """The key of the record that forbids us to take over, if one does; a transfer to us is no takeover."""
        reserved = grant.reserved
        if not self._can_be_paused:
            return None
        if reserved is not None and reserved.instance == self._commons.instance:
            return None
        key = pause_key(self._scope)
        return None if Pause.of(await self._store.read(key)) is None else key

    async def _hear(
        self,
        changes: AsyncIterator[Change],
        view: View,
        lease: Lease,
        seen: Seen | None,
        *,
        patience: float | None,
        paused: bool,
    ) -> frozenset[str]:
        """Wait for what may bring our turn: the keys that were told.

        A wake-up that comes because nothing came for long is followed if the store has changed since we looked, and as
        far as can be told for all who wait here, in something that concerns us. Where changes are pushed, it is only
        in case that one was lost: that is the first one's affair, and the others' once a TTL, for of a long line each
        would look in vain.
        """
        guarantees, begun = self._store.guarantees(), self._clock.now()
        until = None if patience is None else begun + nanoseconds(patience)
        while until is None or self._clock.now() < until:
            waiting = self._clock.now()
            told = await hear(changes, within=None if until is None else seconds(until - waiting))
            if told is None:
                break
            now = self._clock.now()
            is_silence = not told and seconds(now - waiting) >= 0.9 * guarantees.poll_interval
            if not is_silence or lease.is_lost:
                return told
            if guarantees.pushed_changes and view.place.ahead and now - begun < lease.budget.ttl:
                continue
            if await self._concerns_us(view, seen, paused=paused):
                break
        return frozenset()

    async def _concerns_us(self, view: View, seen: Seen | None, *, paused: bool) -> bool:
        survey = self._commons.survey
        if not await survey.has_changed(seen):
            return False
        # more than the grant and its sessions may matter, then
        return view.quarantined or paused or await survey.concerns(self._scope, view.grant)

    async def _take(self, view: View, floor: Floor, lease: Lease) -> Record | None:
        """Take the grant; if the caller gives up meanwhile, a settler goes on and releases what landed (R16)."""
        taking = self._commons.settle(self._take_until_known(view, floor, lease), f"take {self._scope}")
        try:
            await asyncio.wait([taking])
        except asyncio.CancelledError:
            self._commons.settle(self._undo(taking, lease), f"undo the take of {self._scope}")
            raise
        return taking.result()

    async def _take_until_known(self, view: View, floor: Floor, lease: Lease) -> Record | None:
        taken = self._taken(view, floor, lease)
        guarded = self._store.guarantees().guarded_writes
        arming: asyncio.Task[None] | None = None
        if not list(self._commons.fences()):  # raising them may take long, and no body runs meanwhile
            # beside the take: the timer must stand before a body runs, and may do so sooner (R6)
            arming = self._commons.settle(self._arm(lease, taken.token), f"arm for {self._scope}")

        async def send() -> Record:
            try:
                return await self._store.write(
                    self._key,
                    taken.to_bytes(),
                    expect=view.grant.revision,
                    if_open=lease.session if guarded else None,
                    if_gone=view.guard if guarded else None,
                    if_empty=None if self._stands else line_prefix(self._scope),
                    drop=self._place_in_line if self._leaves_at_once else None,
                )
            except BaseException:
                if arming is not None:
                    await finish(arming)
                self._disarm()  # nobody is killed for a body that does not run, however long the next answer takes
                raise

        record = await self._settling.write(send, self._has, lease)
        if record is not None and self._leaves_at_once:
            self._stands = False
        if arming is not None:
            await finish(arming)
        return record

    async def _arm(self, lease: Lease, token: int) -> None:
        """Have the kernel's timer stand, if the lease is good for it; what is asked for twice is done once."""
        if self._handle is None:
            self._handle = await self._commons.leases.arm(lease, token=token)

    def _holder(self, lease: Lease, *, delay: int = 0) -> Holder:
        return Holder(lease.session, self._attempt, self._commons.instance, self._clock.wall().isoformat(), delay)

    # -- the way out

    def _disarm(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._commons.leases.disarm(handle)

    async def _leave(self, lease: Lease) -> None:
        """Leave the line: a place left behind would hold up each later turn for a claim window."""
        self._commons.attempts.discard(self._attempt)
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while self._stands and not lease.is_lost:  # then it goes with the session
            try:
                async with self._commons.gate:
                    await self._store.delete(self._entry_key, expect=ANY)
            except StoreError as error:
                _log.debug("%s: %s", self._scope, error)
                await self._clock.sleep(backoff.delay())
            else:
                return


def why_not(error: BaseException) -> str:
    """Why what was taken could not begin, in words that follow the instance's name."""
    if isinstance(error, asyncio.CancelledError):
        return "stopped before it began"
    if isinstance(error, (CoordinationError, TimeoutError)):
        return f"could not begin: {error}"
    return f"could not begin: {type(error).__name__}: {error}"
