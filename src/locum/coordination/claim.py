"""One acquisition of one scope, from the line to the release: the trip that every exclusive hold makes.

Read the grant, then its holder's session; gone? compare-and-set {me, attempt, token + 1}; settle what got no answer;
raise the fences; have the kernel's timer stand; look at the clock; and only then the body. When the body has ended,
release by revision, and settle that too.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.coordination.grant import Grant, Holder, Past, Reserved, grant_key
from locum.coordination.line import Entry, entry_key, line_prefix
from locum.coordination.lookout import Lookout
from locum.coordination.settling import Settling
from locum.coordination.term import Term
from locum.errors import (
    CoordinationError,
    SessionLostError,
    StaleTermError,
    StoreError,
)
from locum.floor import Floor
from locum.journal import Entry as JournalEntry
from locum.keeper.owner import Ending
from locum.names import random_id
from locum.scopes import Backoff, happens
from locum.store import ABSENT, ANY
from locum.telemetry import TermStarted, logger

if TYPE_CHECKING:
    from locum.coordination.commons import Commons
    from locum.coordination.lookout import View
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["Claim"]

_log = logger("coordination.claim")


class Claim:
    """One acquisition.

    Args:
        commons: Whose it is.
        scope: What is to be held.
        name: What the terms are called, for people.
    """

    def __init__(self, commons: Commons, scope: str, name: str) -> None:
        self._commons, self._scope, self._name = commons, scope, name
        self._store, self._clock = commons.store, commons.clock
        self._attempt = random_id()
        self._key = grant_key(scope)
        self._entry_key = entry_key(scope, self._attempt)
        self._handle: int | None = None
        self._holder: Holder | None = None
        self._settling = Settling(scope, self._clock)
        self._lookout = Lookout(self._store, self._clock, scope, self._attempt)

    async def win(self, lease: Lease) -> Term:
        """Stand in line under a lease, take the grant when it is our turn, and make everything ready for a body.

        Raises:
            SessionLostError: The session ended meanwhile.
            TimeoutError: An older transaction holds a registered fence.
        """
        self._commons.attempts.add(self._attempt)
        try:
            await self._stand_in_line(lease)
            view, record = await self._wait_for_turn(lease)
        except BaseException:
            self._commons.settle(self._leave(lease), f"leave the line of {self._scope}")
            raise
        grant = Grant.of(record)
        self._commons.remember(grant.token)
        term = Term(
            self._name,
            scope=self._scope,
            fence_name=f"{self._store.namespace}/{self._scope}",
            token=grant.token,
            instance=self._commons.instance,
            lease=lease,
            clock=self._clock,
            revision=record.revision,
        )
        try:
            await self._make_ready(term)
        except BaseException as error:
            self._note_before(view)
            self._commons.settle(self._release(term, _why_not(error)), f"release {self._scope}")
            raise
        self._note_before(view)  # only now: a takeover does not wait for it
        self._tell(term, view)
        return term

    async def release(self, term: Term, why: str) -> None:
        """Give the scope up, after its body has ended (R18); it goes on even if the caller no longer waits (R16)."""
        await asyncio.wait([self.let_go(term, why)])

    def let_go(self, term: Term, why: str) -> asyncio.Task[None]:
        """The same, for who does not wait for it."""
        return self._commons.settle(self._release(term, why), f"release {self._scope}")

    async def _release(self, term: Term, why: str) -> None:
        ended_at = self._clock.now()
        term.end(why)
        self._disarm()
        past = Past(self._attempt, term.instance, term.since.isoformat(), why, ended_at, self._commons.key)
        # for one TTL: whoever is silent for longer has no lease by then, and could not work
        reserved = Reserved(term.successor, term.lease.budget.ttl) if term.successor else None
        vacant = Grant(term.token).given_up(past, reserved)
        try:
            await self._settling.write(
                lambda: self._store.write(self._key, vacant.to_bytes(), expect=term.revision),
                lambda grant: grant.holder is None and grant.is_done_with(self._attempt),
                term.lease,
            )
        except SessionLostError:
            pass  # the close of the session has ended it; the successor notes how
        else:
            self._commons.settle(self._note(term, why), f"note the end of {self._scope}")
            if reserved is not None:
                self._commons.settle(
                    self._wake(reserved.instance, term.lease), f"wake {reserved.instance} in {self._scope}"
                )
        await self._leave(term.lease)

    def rest(self) -> None:
        """The body has ended, and the grant is kept."""
        self._disarm()

    def abandon(self, term: Term) -> None:
        """The term is over and the session with it, whose close tells: nothing is released."""
        term.end("lost its lease")
        self._disarm()
        self._commons.attempts.discard(self._attempt)

    # -- the way in

    async def _stand_in_line(self, lease: Lease) -> None:
        value = Entry.value(self._commons.instance)
        await self._settling.write(
            lambda: self._store.write(self._entry_key, value, expect=ABSENT, session=lease.session), None, lease
        )

    async def _wait_for_turn(self, lease: Lease) -> tuple[View, Record]:
        watch: tuple[str, ...] = (self._entry_key, self._key)
        while True:
            # the subscription stands before the look, so that nothing falls between the two
            async with self._store.changes(watch) as changes:
                while True:
                    view = await self._settling.answer(lambda: self._lookout.look(lease), lease)
                    self._commons.remember(view.grant.token)
                    if view.is_our_turn(lease):
                        record = await self._take(view, lease)
                        if record is not None:
                            return view, record
                        await self._clock.sleep(0.001)  # somebody was quicker, or a guard does not hold yet
                        continue
                    if view.watch != watch:
                        watch = view.watch
                        break
                    await happens(anext(changes), within=view.patience(lease))

    async def _take(self, view: View, lease: Lease) -> Record | None:
        """Take the grant; if the caller gives up meanwhile, a settler goes on and releases what landed (R16)."""
        taking = self._commons.settle(self._take_until_known(view, lease), f"take {self._scope}")
        try:
            await asyncio.wait([taking])
        except asyncio.CancelledError:
            self._commons.settle(self._undo(taking, lease), f"undo the take of {self._scope}")
            raise
        return taking.result()

    async def _take_until_known(self, view: View, lease: Lease) -> Record | None:
        # read after the record (R20)
        floor = await self._settling.answer(lambda: Floor.read(self._store), lease)
        holder = Holder(lease.session, self._attempt, self._commons.instance, self._clock.wall().isoformat())
        taken = view.grant.taken_by(holder, floor=floor.token).to_bytes()
        guarded = self._store.guarantees().guarded_writes
        return await self._settling.write(
            lambda: self._store.write(
                self._key,
                taken,
                expect=view.grant.revision,
                if_open=lease.session if guarded else None,
                if_gone=view.guard if guarded else None,
            ),
            lambda grant: grant.is_held_by(self._attempt),
            lease,
        )

    async def _undo(self, taking: asyncio.Task[Record | None], lease: Lease) -> None:
        await asyncio.wait([taking])
        if taking.cancelled() or taking.exception() is not None or (record := taking.result()) is None:
            return  # nothing landed, or the session's end has taken care of it
        landed, grant = record, Grant.of(record)
        past = Past(self._attempt, self._commons.instance, "", "stopped waiting", self._clock.now(), self._commons.key)
        await self._settling.write(
            lambda: self._store.write(self._key, grant.given_up(past).to_bytes(), expect=landed.revision),
            lambda found: found.is_done_with(self._attempt) and found.holder is None,
            lease,
        )

    async def _make_ready(self, term: Term) -> None:
        """Fences raised, timer standing, and then the clock looked at, in this order (R6, R15, R21)."""
        try:
            for fence in self._commons.fences():
                await term.raise_fence(fence)
        except StaleTermError as error:
            if error.highest is not None:
                await Floor.lift(self._store, error.highest)
            raise
        self._handle = await self._commons.leases.arm(term.lease, token=term.token)
        if self._handle is None or not term.is_current:
            raise SessionLostError(f"the lease ran out before the term {term.token} in {self._scope} began")

    # -- the way out

    def _disarm(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._commons.leases.disarm(handle)

    async def _leave(self, lease: Lease) -> None:
        """Leave the line: a place left behind would hold up each later turn for a claim window."""
        self._commons.attempts.discard(self._attempt)
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while not lease.is_lost:  # then it goes with the session
            try:
                await self._store.delete(self._entry_key, expect=ANY)
            except StoreError as error:
                _log.debug("%s: %s", self._scope, error)
                await self._clock.sleep(backoff.delay())
            else:
                return

    async def _wake(self, instance: str, lease: Lease) -> None:
        """Wake the candidates of an instance: they may stand too far back in the line to watch the grant.

        Everyone watches its own entry, so that is written once more, as it stands: one that has left stays away.
        """
        prefix = line_prefix(self._scope)
        try:
            records = (await self._settling.answer(lambda: self._store.list(prefix), lease)).records
            for record in records:
                if Entry.of(record).instance == instance:
                    again = functools.partial(
                        self._store.write, record.key, record.value, expect=record.revision, session=record.session
                    )
                    await self._settling.write(again, None, lease)
        except SessionLostError:
            pass  # theirs, and nobody is left to be woken; or ours, and they look by themselves in time

    async def _note(self, term: Term, why: str) -> None:
        await self._commons.note(self._entry(term.token, term.instance, term.since.isoformat(), why))

    def _entry(self, token: int, instance: str, since: str, why: str) -> JournalEntry:
        return JournalEntry(
            scope=self._scope,
            token=token,
            instance=instance,
            since=since,
            until=self._clock.wall().isoformat(),
            why=why,
            told_by=self._commons.instance,
        )

    def _note_before(self, view: View) -> None:
        """Note the end of the term before, unless its holder did so itself."""
        before = _before(view)
        if before is None:
            return
        entry = self._entry(view.grant.token, before.instance, before.since, before.ending.why)
        self._commons.settle(
            self._commons.note(entry, unless_noted=True), f"note the end of {before.instance} in {self._scope}"
        )

    def _tell(self, term: Term, view: View) -> None:
        """Tell of the takeover."""
        before = _before(view)
        gap = None if before is None else before.ending.age(self._clock.now(), self._commons.key)
        self._commons.events.tell(
            TermStarted(
                instance=term.instance,
                service=term.name,
                token=term.token,
                previous=before.instance if before else "",
                why=before.ending.why if before else "",
                gap=None if gap is None else seconds(gap),
            )
        )


@dataclass(frozen=True, slots=True)
class _Before:
    """The term before ours."""

    instance: str
    since: str
    ending: Ending


def _before(view: View) -> _Before | None:
    holder, past = view.grant.holder, view.grant.past
    if holder is not None and view.ending is not None:
        return _Before(holder.instance, holder.since, view.ending)
    if past is not None:
        return _Before(past.instance, past.since, Ending(past.why, past.at, past.key))
    return None


def _why_not(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "stopped before it began"
    if isinstance(error, (CoordinationError, TimeoutError)):
        return f"could not begin: {error}"
    return f"could not begin: {type(error).__name__}: {error}"
