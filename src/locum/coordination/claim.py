"""One acquisition of one scope, from the line to the release: the trip that every exclusive hold makes.

Read the grant, then its holder's session; gone? compare-and-set {me, attempt, token + 1}; settle what got no answer;
raise the fences; have the kernel's timer stand; look at the clock; and only then the body. When the body has ended,
release by revision, and settle that too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.coordination.grant import FLOOR_KEY, Floor, Grant, Holder, Past, grant_key
from locum.coordination.line import Entry, Place, entry_key, find_place, line_prefix
from locum.coordination.term import Term
from locum.errors import (
    ConflictError,
    CoordinationError,
    OutcomeUnknownError,
    SessionClosedError,
    SessionLostError,
    StaleTermError,
    StoreUnavailableError,
)
from locum.journal import Entry as JournalEntry
from locum.keeper.owner import Ending
from locum.names import random_id
from locum.scopes import Backoff, happens
from locum.store import ABSENT, ANY
from locum.telemetry import TermStarted, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.coordination.commons import Commons
    from locum.keeper.lease import Lease
    from locum.store import Record, SessionStatus

__all__ = ["Claim"]

_log = logger("coordination.claim")


@dataclass(frozen=True, slots=True)
class _View:
    """What one look showed.

    Attributes:
        grant: The grant.
        place: Our place in the line.
        free_for: Nanoseconds for which we have seen the grant free; `None` if it is held.
        ending: How its holder ended, where that is still named by the grant.
        guard: The holder's session, whose tombstone the take demands (R14); `None` where the grant is vacant, or where
        no
            tombstone is known and the record was watched for the longest TTL instead (R11).
    """

    grant: Grant
    place: Place
    free_for: int | None
    ending: Ending | None
    guard: str | None


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
        self._seen: tuple[int, int] = (0, 0)  # the revision of the grant that was seen, and since when
        self._free: tuple[int, int] = (0, 0)  # the same, and since when it was free

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
            self._commons.settle(self._release(term, _why_not(error)), f"release {self._scope}")
            raise
        self._tell(term, view)
        return term

    async def release(self, term: Term, why: str) -> None:
        """Give the scope up, after its body has ended (R18); it goes on even if the caller no longer waits (R16)."""
        releasing = self._commons.settle(self._release(term, why), f"release {self._scope}")
        await asyncio.wait([releasing])

    async def _release(self, term: Term, why: str) -> None:
        ended_at = self._clock.now()
        term.end(why)
        self._disarm()
        past = Past(self._attempt, term.instance, term.since.isoformat(), why, ended_at, self._commons.key)
        vacant = Grant(term.token, None, past)
        try:
            await self._until_known(
                lambda: self._store.write(self._key, vacant.to_bytes(), expect=term.revision),
                lambda grant: grant.holder is None and grant.is_done_with(self._attempt),
                term.lease,
            )
        except SessionLostError:
            pass  # the close of the session has ended it; the successor notes how
        else:
            self._commons.settle(self._note(term, why), f"note the end of {self._scope}")
        await self._leave(term.lease)

    def rest(self) -> None:
        """The body has ended, and the grant is kept."""
        self._disarm()

    def abandon(self, term: Term) -> None:
        """The term is lost and its body has ended: nothing is released, the session's close tells."""
        term.end("lost its lease")
        self._disarm()
        self._commons.attempts.discard(self._attempt)

    # -- the way in

    async def _stand_in_line(self, lease: Lease) -> None:
        value = Entry.value(self._commons.instance)
        await self._until_known(
            lambda: self._store.write(self._entry_key, value, expect=ABSENT, session=lease.session), None, lease
        )

    async def _wait_for_turn(self, lease: Lease) -> tuple[_View, Record]:
        watch: tuple[str, ...] = (self._entry_key, self._key)
        while True:
            # the subscription stands before the look, so that nothing falls between the two
            async with self._store.changes(watch) as changes:
                while True:
                    view = await self._look(lease)
                    if self._is_our_turn(view, lease):
                        record = await self._take(view, lease)
                        if record is not None:
                            return view, record
                        await self._clock.sleep(0.001)  # somebody was quicker, or a guard does not hold yet
                        continue
                    if view.place.watch != watch:
                        watch = view.place.watch
                        break
                    await happens(anext(changes), within=self._patience(view, lease))

    def _is_our_turn(self, view: _View, lease: Lease) -> bool:
        if not lease.is_current:
            return False  # nothing could begin under it: the take would only skip a token
        # a head that does not take within its window yields to the next (R23)
        return view.free_for is not None and view.free_for >= view.place.ahead * lease.budget.claim_window

    def _patience(self, view: _View, lease: Lease) -> float:
        if view.free_for is None:
            return seconds(lease.budget.ttl)
        if not lease.is_current:
            return seconds(lease.budget.beat)
        return max(0.001, seconds(view.place.ahead * lease.budget.claim_window - view.free_for))

    async def _look(self, lease: Lease) -> _View:
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while True:
            try:
                return await self._look_once(lease)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                _log.debug("%s: %s", self._scope, error)
            except ConflictError:
                continue  # somebody else made the grant's record
            if lease.is_lost:
                raise SessionLostError(f"the session ended in the line of {self._scope}: {lease.loss}")
            await self._clock.sleep(backoff.delay())

    async def _look_once(self, lease: Lease) -> _View:
        record = await self._store.read(self._key)
        if record is None:
            # "absent" may only create it vacant: a grant that is deleted and made again must not start with a holder
            # (R13)
            record = await self._store.write(self._key, Grant().to_bytes(), expect=ABSENT)
        grant = Grant.of(record)
        # the session is read after the grant: an absence from before it would prove nothing (R11, R14)
        holder = await self._session_of(grant)
        entries = [Entry.of(entry) for entry in (await self._store.list(line_prefix(self._scope))).records]
        place = find_place(entries, self._attempt, grant, self._key)
        if place is None:
            raise SessionLostError(
                f"the session ended in the line of {self._scope}: {lease.loss or 'its entry is gone'}"
            )
        now = self._clock.now()
        if self._seen[0] != record.revision:
            self._seen = (record.revision, now)
        free, guard, ending = self._is_free(holder, now)
        if free and self._free[0] != record.revision:
            self._free = (record.revision, now)
        return _View(grant, place, now - self._free[1] if free else None, ending, guard)

    async def _session_of(self, grant: Grant) -> tuple[SessionStatus, int] | None:
        if grant.holder is None:
            return None
        sessions = await self._store.sessions([grant.holder.session])
        return sessions.by_id[grant.holder.session], sessions.max_ttl

    def _is_free(self, holder: tuple[SessionStatus, int] | None, now: int) -> tuple[bool, str | None, Ending | None]:
        """Whether the grant may be taken, whose tombstone the take demands, and how the holder ended."""
        if holder is None:
            return True, None, None
        status, max_ttl = holder
        if status.is_closed:
            return True, status.id, Ending.from_bytes(status.reason)
        if status.is_open or now - self._seen[1] < max_ttl:
            return False, None, None
        return True, None, Ending("is gone without a trace")  # unknown, and its grant watched for the longest TTL (R11)

    async def _take(self, view: _View, lease: Lease) -> Record | None:
        """Take the grant; if the caller gives up meanwhile, a settler goes on and releases what landed (R16)."""
        taking = self._commons.settle(self._take_until_known(view, lease), f"take {self._scope}")
        try:
            await asyncio.wait([taking])
        except asyncio.CancelledError:
            self._commons.settle(self._undo(taking, lease), f"undo the take of {self._scope}")
            raise
        return taking.result()

    async def _take_until_known(self, view: _View, lease: Lease) -> Record | None:
        floor = Floor.of(await self._read_until_known(FLOOR_KEY, lease))  # read after the record (R20)
        holder = Holder(lease.session, self._attempt, self._commons.instance, self._clock.wall().isoformat())
        taken = view.grant.taken_by(holder, floor=floor.token).to_bytes()
        guarded = self._store.guarantees().guarded_writes
        return await self._until_known(
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
        await self._until_known(
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
                await self._commons.raise_floor(error.highest)
            raise
        self._handle = await self._commons.leases.arm(term.lease)
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
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                _log.debug("%s: %s", self._scope, error)
                await self._clock.sleep(backoff.delay())
            else:
                return

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

    def _tell(self, term: Term, view: _View) -> None:
        """Tell of the takeover, and note the end of the term before, unless its holder did so itself."""
        before = _before(view)
        gap = None
        if before is not None:
            gap = before.ending.age(self._clock.now(), self._commons.key)
            entry = self._entry(view.grant.token, before.instance, before.since, before.ending.why)
            self._commons.settle(
                self._commons.note(entry, unless_noted=True), f"note the end of {before.instance} in {self._scope}"
            )
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

    # -- answers that do not come

    async def _until_known(
        self, write: Callable[[], Awaitable[Record]], is_ours: Callable[[Grant], bool] | None, lease: Lease
    ) -> Record | None:
        """Repeat a write until an answer or a conflict tells whether it landed; only the session's end stops it (R16).

        Returns:
            The record that was written; `None` if another one stands there.
        """
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while True:
            try:
                return await write()
            except ConflictError as error:
                current: Record | None = error.current  # type: ignore[assignment]
                if current is not None and (is_ours is None or is_ours(Grant.of(current))):
                    return current  # an earlier sending had landed
                return None
            except SessionClosedError as error:
                raise SessionLostError(f"the session ended in {self._scope}: {error}") from error
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                _log.debug("%s: %s", self._scope, error)
            if lease.is_lost:
                raise SessionLostError(f"the session ended in {self._scope}: {lease.loss}")
            await self._clock.sleep(backoff.delay())

    async def _read_until_known(self, key: str, lease: Lease) -> Record | None:
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while True:
            try:
                return await self._store.read(key)
            except (StoreUnavailableError, OutcomeUnknownError):
                if lease.is_lost:
                    raise SessionLostError(f"the session ended in {self._scope}: {lease.loss}") from None
                await self._clock.sleep(backoff.delay())


@dataclass(frozen=True, slots=True)
class _Before:
    """The term before ours."""

    instance: str
    since: str
    ending: Ending


def _before(view: _View) -> _Before | None:
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
