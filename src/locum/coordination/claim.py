"""One acquisition of one scope alone, from the line to the release: the trip that every exclusive hold makes.

Read the grant, then its holder's session; gone? compare-and-set {me, attempt, token + 1}; settle what got no answer;
raise the fences; have the kernel's timer stand; look at the clock; and only then the body. When the body has ended,
release by revision, and settle that too.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from locum.clock import nanoseconds, seconds
from locum.coordination.candidacy import ROOM, Candidacy, why_not
from locum.coordination.grant import MOST_VALUE, Grant, Past, Reserved
from locum.coordination.line import Place, line_of, line_prefix
from locum.coordination.lookout import View
from locum.coordination.shortcut import free_grant
from locum.coordination.term import Term
from locum.errors import (
    ConfigurationError,
    ConflictError,
    SessionLostError,
    StaleTermError,
)
from locum.floor import Floor
from locum.journal import Entry as JournalEntry
from locum.keeper.owner import Ending
from locum.telemetry import TermStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.commons import Commons, Idle
    from locum.coordination.grant import Holder
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["Claim", "Habits", "delay_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What differs between the recipes that hold something alone.

    Attributes:
        make_term: Makes the terms.
        priority: Those with a higher one go before.
        delay: For so long (ns) nobody follows a holder that failed.
        eyes: How many of the line watch the grant.
        can_be_paused: Whether takeovers may be forbidden.
        keeps_value: Whether the value outlives the holder; otherwise it is of its time in office.
        tells: Whether each beginning and end is told and noted; otherwise only the ends that were no releases.
        at_once: Whether it is taken without a place in line where it is free and nobody waits.
    """

    make_term: Callable[..., Term] = Term
    priority: int = 0
    delay: int = 0
    eyes: int = 2
    can_be_paused: bool = True
    keeps_value: bool = False
    tells: bool = True
    at_once: bool = False


def delay_of(lock_delay: float) -> int:
    """A lock-delay in nanoseconds.

    Raises:
        ConfigurationError: It is negative.
    """
    if lock_delay < 0:
        raise ConfigurationError(f"a lock-delay of {lock_delay:g} s cannot be: it is 0 or more")
    return nanoseconds(lock_delay)


class Claim(Candidacy):
    """One acquisition.

    Args:
        commons: Whose it is.
        scope: What is to be held.
        name: What the terms are called, for people.
        habits: What differs between the recipes.
    """

    def __init__(self, commons: Commons, scope: str, name: str, habits: Habits | None = None) -> None:
        habits = habits or Habits()
        super().__init__(commons, scope, priority=habits.priority, eyes=habits.eyes, can_be_paused=habits.can_be_paused)
        self._name, self._habits = name, habits
        self._changing = asyncio.Lock()
        self._held: Holder | None = None
        self._followed = True
        self._untold: TermStarted | None = None
        self.value: bytes | None = None
        """The value that goes with what is held."""

    async def win(self, lease: Lease, *, patient: bool = True) -> Term:
        """Stand in line under a lease, take the grant when it is our turn, and make everything ready for a body.

        Raises:
            NotOurTurnError: It is not our turn at the first look, and we are not patient.
            SessionLostError: The session ended meanwhile.
            TimeoutError: An older transaction holds a registered fence.
        """
        view, record = await self._stand_and_take(lease, patient=patient)
        grant = Grant.of(record)
        self.value, self._held, self._followed = grant.value, grant.holder, view.followed
        self._commons.remember(grant.token)
        term = self._habits.make_term(
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
            self._disarm()
            self._note_before(view)
            self._commons.settle(self._release(term, why_not(error)), f"release {self._scope}")
            raise
        if self._habits.tells:
            self._untold = self._started(term, view)
        if self._habits.tells or view.grant.holder is not None:
            self._commons.settle(self._report(view), f"tell of the takeover of {self._scope}")
        return term

    def announce(self) -> None:
        """Tell of the takeover, if that was not done."""
        untold, self._untold = self._untold, None
        if untold is not None:
            self._commons.events.tell(untold)

    async def set_value(self, term: Term, value: bytes | None) -> None:
        """Change the value that goes with what is held; it goes on even if the caller no longer waits (R16).

        Raises:
            TermEndedError: The term is over; nothing was changed, or the session ended before an answer told.
            StaleTermError: A later term holds it; nothing was changed.
        """
        if value is not None and len(value) > MOST_VALUE:
            raise ConfigurationError(
                f"the value of {self._scope} has {len(value)} bytes, and has room for {MOST_VALUE}: keep it elsewhere,"
                " and say here where"
            )
        setting = self._commons.settle(self._set_value(term, value), f"set the value of {self._scope}")
        await asyncio.wait([setting])
        setting.result()

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
        try:
            async with self._changing:  # a value that is still on its way moves the revision
                value = self.value if self._habits.keeps_value else None
                vacant = Grant(term.token, value=value).given_up(past, reserved)
                record = await self._settling.write(
                    # its place in line goes with it: whoever is next is woken once, and finds both gone
                    lambda: self._store.write(
                        self._key, vacant.to_bytes(), expect=term.revision, drop=self._place_in_line
                    ),
                    lambda grant: grant.holder is None and grant.is_done_with(self._attempt),
                    term.lease,
                )
                self._stands = self._stands and record is None
        except SessionLostError:
            pass  # the close of the session has ended it; the successor notes how
        else:
            if reserved is not None:
                self._commons.settle(
                    self._wake(reserved.instance, term.lease), f"wake {reserved.instance} in {self._scope}"
                )
            if self._habits.tells:
                if self._followed:
                    await self._clock.sleep(ROOM)  # what follows here would only hold up whoever takes it
                self._commons.settle(self._note(term, why), f"note the end of {self._scope}")
            elif self._followed:
                self._commons.crowded.add(self._scope)
            elif record is not None:
                self._commons.is_idle(self._scope, Grant.of(record), term.lease)
        await self._leave(term.lease)

    def rest(self) -> None:
        """The body has ended, and the grant is kept."""
        self._disarm()

    def abandon(self, term: Term) -> None:
        """The term is over and the session with it, whose close tells: nothing is released."""
        term.end("lost its lease")
        self._disarm()
        self._commons.attempts.discard(self._attempt)

    # -- what differs from a hold together with others

    async def _take_at_once(self, idle: Idle | None, lease: Lease) -> tuple[View, Record] | None:
        if not self._habits.at_once:
            return None
        grant = await free_grant(self._commons, self._scope, idle, self._settling, lease)
        if grant is None:
            return None
        view = View(grant, Place(0, ()), free_for=0)
        floor = await self._settling.answer(self._floor, lease)  # read after the grant (R20)
        record = await self._take(view, floor, lease)
        if record is None:
            self._commons.crowded.add(self._scope)
            return None
        return view, record

    async def _floor(self) -> Floor:
        return await Floor.read(self._store)

    def _taken(self, view: View, floor: Floor, lease: Lease) -> Grant:
        taken = view.grant.taken_by(self._holder(lease, delay=self._habits.delay), floor=floor.token)
        return taken if self._habits.keeps_value else taken.with_value(None)

    def _has(self, grant: Grant) -> bool:
        return grant.is_held_by(self._attempt)

    async def _undo(self, taking: asyncio.Task[Record | None], lease: Lease) -> None:
        await asyncio.wait([taking])
        self._disarm()
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
        await self._arm(term.lease, term.token)
        if self._handle is None or not term.is_current:
            raise SessionLostError(f"the lease ran out before the term {term.token} in {self._scope} began")

    async def _set_value(self, term: Term, value: bytes | None) -> None:
        guarded = self._store.guarantees().guarded_writes
        async with self._changing:  # one after the other: each names the revision of the one before
            term.check()
            held = Grant(term.token, self._held, value=value).to_bytes()
            try:
                record = await self._settling.answer(
                    lambda: self._store.write(
                        self._key, held, expect=term.revision, if_open=term.lease.session if guarded else None
                    ),
                    term.lease,
                )
            except ConflictError as error:
                current = cast("Record | None", error.current)
                grant = Grant.of(current)
                if current is None or not grant.is_held_by(self._attempt):
                    term.lose(f"lost it: it was taken over under token {grant.token}")
                    raise StaleTermError(self._scope, term.token, grant.token) from error
                record = current  # an earlier sending had landed
            except SessionLostError as error:
                term.lose(f"lost its session: {error}")
                raise term.over_error(term.ended or "lost its session") from error
            term.revision, self.value = record.revision, value

    async def _wake(self, instance: str, lease: Lease) -> None:
        """Wake the candidates of an instance: they may stand too far back in the line to watch the grant.

        Everyone watches its own entry, so that is written once more, as it stands: one that has left stays away.
        """
        prefix = line_prefix(self._scope)
        try:
            records = (await self._settling.answer(lambda: self._store.list(prefix), lease)).records
            theirs = {entry.key for entry in line_of(records) if entry.instance == instance}
            for record in records:
                if record.key in theirs:
                    again = functools.partial(
                        self._store.write, record.key, record.value, expect=record.revision, session=record.session
                    )
                    await self._settling.write(again, None, lease)
        except SessionLostError:
            pass  # theirs, and nobody is left to be woken; or ours, and they look by themselves in time

    # -- what is told

    async def _report(self, view: View) -> None:
        await asyncio.sleep(0)  # the body goes first: a takeover waits for nothing of this
        self.announce()
        self._note_before(view)

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
        if before is None or (view.grant.holder is None and not self._habits.tells):
            return
        entry = self._entry(view.grant.token, before.instance, before.since, before.ending.why)
        self._commons.settle(
            self._commons.note(entry, unless_noted=True), f"note the end of {before.instance} in {self._scope}"
        )

    def _started(self, term: Term, view: View) -> TermStarted:
        before = _before(view)
        gap = None if before is None else before.ending.age(self._clock.now(), self._commons.key)
        return TermStarted(
            instance=term.instance,
            service=term.name,
            token=term.token,
            previous=before.instance if before else "",
            why=before.ending.why if before else "",
            gap=None if gap is None else seconds(gap),
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
