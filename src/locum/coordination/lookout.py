"""Looking whether it is our turn: the grant, then its holder's session, and our place in the line (R11, R14, R23).

A grant that is reserved for an instance is free for that one's candidates only, whatever their place, for a time that
everyone counts on its own clock from its own first sight of it, and no longer than one of them stands in line (R22).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from locum.clock import seconds
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import Place, before_in, entry_key, find_place, line_of, line_prefix
from locum.coordination.turn import ALONE
from locum.errors import ConflictError, SessionLostError
from locum.keeper.owner import Ending
from locum.scopes import both
from locum.store import ABSENT, INCARNATION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from locum.clock import Clock
    from locum.coordination.line import Entry
    from locum.coordination.turn import Manner
    from locum.keeper.lease import Lease
    from locum.store import Sessions, Store

__all__ = ["Lookout", "View"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """What one look showed.

    Attributes:
        grant: The grant.
        place: Our place in the line.
        free_for: Nanoseconds for which we have seen the grant free; `None` if it is held, or kept for others.
        windows: How many claim windows it must have been free before we may take it.
        delay: Nanoseconds that it must have been free besides, because its holder died and wished so.
        kept_for: Nanoseconds for which it is yet kept for another instance (R22); `None` if it is not.
        ending: How its holder ended, where that is still named by the grant.
        guard: The holder's session, whose tombstone the take demands (R14). `None` where the grant is vacant, and where
            no tombstone is known and the record was watched for the longest TTL instead (R11).
        gone: The sessions that the grant names and that are gone.
        unknown: Whether of one of the sessions that it names nothing is known, not even its end.
        quarantined: Whether the store is in quarantine.
        followed: Whether others stand in line behind us.
    """

    grant: Grant
    place: Place
    free_for: int | None = None
    windows: int = 0
    delay: int = 0
    kept_for: int | None = None
    ending: Ending | None = None
    guard: str | None = None
    gone: frozenset[str] = frozenset()
    unknown: bool = False
    quarantined: bool = False
    followed: bool = False

    @property
    def watch(self) -> tuple[str, ...]:
        """The keys whose change may bring our turn."""
        return (*self.place.watch, INCARNATION) if self.quarantined else self.place.watch

    def is_our_turn(self, lease: Lease) -> bool:
        """Whether to take the grant now."""
        if not lease.is_current:
            return False  # nothing could begin under it: the take would only skip a token
        # a head that does not take within its window yields to the next (R23)
        return self.free_for is not None and self.free_for >= self._wait(lease)

    def patience(self, lease: Lease) -> float | None:
        """Seconds after which to look again, even if nothing changes; `None` if only a change can bring our turn."""
        if self.kept_for is not None:
            return seconds(self.kept_for)
        if self.free_for is None:
            return seconds(lease.budget.ttl) if self.unknown else None
        if not lease.is_current:
            return seconds(lease.budget.beat)
        return max(0.001, seconds(self._wait(lease) - self.free_for))

    def _wait(self, lease: Lease) -> int:
        return self.delay + self.windows * lease.budget.claim_window


@dataclass(frozen=True, slots=True)
class _Kept:
    """A reservation that counts: whose it is, for how long yet (ns), and whether the candidate is one of theirs."""

    instance: str
    left: int
    is_ours: bool


class Lookout:
    """Looks at one scope for one candidate, and remembers since when it saw what.

    Args:
        store: Where to look.
        clock: On which it is remembered.
        scope: What is waited for.
        attempt: The candidate.
        manner: How it is to be held.
        eyes: How many of a line watch the grant.
        opened: The incarnations that were seen out of quarantine, into which none of them comes back; shared by all who
            look through one store.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        scope: str,
        attempt: str,
        *,
        manner: Manner = ALONE,
        eyes: int = 2,
        opened: set[str] | None = None,
    ) -> None:
        self._store, self._clock, self._scope, self._attempt = store, clock, scope, attempt
        self._manner, self._eyes = manner, eyes
        self._opened = set() if opened is None else opened
        self._key = grant_key(scope)
        self._seen: tuple[int, int] = (0, 0)  # the revision of the grant that was seen, and since when
        self._free: tuple[int, int] = (0, 0)  # the same, and since when it was free

    async def look(self, lease: Lease, foresee: Callable[[Grant], Coroutine[Any, Any, T]]) -> tuple[View, T | None]:
        """Look once.

        Args:
            lease: Under which we stand in line.
            foresee: Reads what a take needs besides; called where it is most likely our turn, so that it is read beside
                the sessions, and after the grant like these.

        Returns:
            What was seen, and what was foreseen.

        Raises:
            SessionLostError: Our place in the line is gone, and so is our session.
            StoreError: The store does not answer.
        """
        grant, line = await both(self._grant(), self._store.list(line_prefix(self._scope)))
        entries = line_of(line.records)
        standing = {entry.attempt for entry in entries}
        left = grant.holder is not None and grant.holder.attempt not in standing
        if left and entries and entries[0].attempt == self._attempt:
            # its holder's place has gone, as it does with a session, and we stand first
            sessions, foreseen = await both(self._sessions(grant, standing), foresee(grant))
        else:
            sessions, foreseen = await self._sessions(grant, standing), None
        now = self._clock.now()
        quarantined = sessions is not None and sessions.quarantined
        if not quarantined and self._seen[0] != grant.revision:
            self._seen = (grant.revision, now)
        kept = self._kept(grant, entries, now)
        place = find_place(
            entries,
            self._attempt,
            grant,
            self._key,
            kept_for=kept.instance if kept else None,
            manner=self._manner,
            eyes=self._eyes,
        )
        if place is None:
            why = lease.loss or "its entry is gone"
            raise SessionLostError(f"the session ended in the line of {self._scope}: {why}")
        view = View(grant, place, quarantined=quarantined, followed=entries[-1].attempt != self._attempt)
        if kept is not None and not kept.is_ours:
            return replace(view, kept_for=kept.left), foreseen
        return self._judge(view, sessions, now), foreseen

    async def foresee_watch(self) -> tuple[str, ...]:
        """What a look will most likely find that is to be watched: our place, the one before, and near it the grant."""
        before = before_in(line_of((await self._store.list(line_prefix(self._scope))).records), self._attempt)
        watch = entry_key(self._scope, self._attempt), *(entry.key for entry in before[-1:])
        return (*watch, self._key) if len(before) <= self._eyes else watch

    async def _sessions(self, grant: Grant, standing: Collection[str]) -> Sessions | None:
        """The sessions that a grant names; `None` where none needs to be read and quarantine is known to be over.

        They are read after the grant: an absence from before it would prove nothing (R11, R14). Whoever comes and finds
        the holder's place in the line need not ask for its session: if that ends, the place goes, which wakes the next
        one; and from the second look on it is asked for whatever the line says (R23).
        """
        seen, is_first = self._store.seen, not self._seen[0]
        named = [occupant.session for occupant in grant.occupants]
        need_none = is_first and all(occupant.attempt in standing for occupant in grant.occupants)
        if (not named or need_none) and seen is not None and seen.incarnation in self._opened:
            return None
        sessions = await self._store.sessions(list(dict.fromkeys(named)))
        if not sessions.quarantined:
            self._opened.add(sessions.incarnation)
        return sessions

    async def _grant(self) -> Grant:
        while True:
            record = await self._store.read(self._key)
            if record is not None:
                return Grant.of(record)
            try:
                # "absent" may only create it vacant: one that was deleted must not come back with a holder (R13)
                return Grant.of(await self._store.write(self._key, Grant().to_bytes(), expect=ABSENT))
            except ConflictError:
                continue  # somebody else made it

    def _kept(self, grant: Grant, entries: Sequence[Entry], now: int) -> _Kept | None:
        """For whom the grant is kept, if it still is."""
        reserved = grant.reserved
        if reserved is None or grant.holder is not None:
            return None
        theirs = {entry.attempt for entry in entries if entry.instance == reserved.instance}
        left = self._seen[1] + reserved.wait - now
        if not theirs or left <= 0:
            return None  # nobody is there to take it, or nobody has in time
        return _Kept(reserved.instance, left, self._attempt in theirs)

    def _judge(self, view: View, sessions: Sessions | None, now: int) -> View:
        """The view, with whether the grant is free; in quarantine none is (R25)."""
        if view.quarantined:
            return view
        grant = view.grant
        ends = {} if sessions is None else self._ends(grant, sessions, now)
        if sessions is not None:
            unknown = any(not one.is_open and not one.is_closed for one in sessions.by_id.values())
            view = replace(view, unknown=unknown)
        holder = grant.holder
        windows = self._manner.windows(
            alone=holder is not None and holder.session not in ends,
            shares=len([share for share in grant.shares if share.session not in ends]),
            ahead=view.place.ahead,
        )
        if windows is None:
            return view
        if self._free[0] != grant.revision:
            self._free = (grant.revision, now)
        view = replace(view, free_for=now - self._free[1], windows=windows, gone=frozenset(ends))
        if holder is None:
            return view
        ending, is_proven = ends[holder.session]
        return replace(view, ending=ending, guard=holder.session if is_proven else None, delay=holder.delay)

    def _ends(self, grant: Grant, sessions: Sessions, now: int) -> dict[str, tuple[Ending, bool]]:
        """How the sessions ended that a grant names and that are gone, and whether a tombstone says so."""
        ends = {}
        for session in {occupant.session: None for occupant in grant.occupants}:
            status = sessions.by_id[session]
            if status.is_closed:
                ends[session] = (Ending.from_bytes(status.reason), True)
            elif not status.is_open and now - self._seen[1] >= sessions.max_ttl:
                # unknown, and watched for the longest TTL (R11)
                ends[session] = (Ending("is gone without a trace"), False)
        return ends
