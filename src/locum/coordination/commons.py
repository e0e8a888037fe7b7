"""What all recipes of one process share: the store, the leases, the settlers and the journal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.clock import nanoseconds, seconds
from locum.coordination.survey import Survey
from locum.errors import ForkedError, OutcomeUnknownError, SessionLostError, StoreError, StoreUnavailableError
from locum.floor import Floor
from locum.identity import Origin
from locum.journal import Journal
from locum.scopes import Backoff, Scope, finish
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from locum.coordination.fence import Fence
    from locum.coordination.grant import Grant
    from locum.coordination.request import Request
    from locum.coordination.term import Term
    from locum.journal import Entry
    from locum.keeper.lease import Lease, LeaseSource
    from locum.store import Seen, Store
    from locum.telemetry import Events

__all__ = ["Commons", "Idle"]

_log = logger("coordination")
_NOTED_WITHIN: Final = 60.0  # s
_AT_ONCE: Final = 32
"""Calls; what more would be sent at once would wait in a store's own queue, until its deadline has come."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Idle:
    """A grant that was given up here, when nobody else had it or was seen to wait for it.

    Attributes:
        revision: The revision by which it is taken again, or deleted.
        token: Its token, to which the floor is raised before it is deleted.
        since: When it was given up (boot clock, ns).
        session: Under which that was.
    """

    revision: int
    token: int
    since: int
    session: str


class Commons:
    """The common ground of the recipes under one instance's session.

    Args:
        store: An open store.
        leases: Where the instance's leases come from.
        events: Told of terms.
        fences: The registered fences, which each term raises before its body.
    """

    def __init__(
        self, store: Store, leases: LeaseSource, *, events: Events, fences: Callable[[], Iterable[Fence]] = tuple
    ) -> None:
        self.store, self.leases, self.events, self.fences = store, leases, events, fences
        self.clock = leases.clock
        self.origin = Origin("the coordinator")
        self.attempts: set[str] = set()
        """The acquisitions that somebody here runs or settles (R17)."""
        self.terms: dict[str, Term] = {}
        """The running terms by scope."""
        self.entered: dict[tuple[str, object], Any] = {}
        """The holds that may be entered again, by scope and by whose they are."""
        self.leads: set[asyncio.Task[Any]] = set()
        """Who sees to the end of the blocks that lead; each ends within its own time."""
        self.requests: dict[str, Request] = {}
        """Who is asked for a planned end, by scope."""
        self.opened: set[str] = set()
        """The incarnations that were seen out of quarantine."""
        self.idle: dict[str, Idle] = {}
        """The grants that were given up here with nobody in line, by scope: to be taken again, or collected (R20)."""
        self.crowded: set[str] = set()
        """The scopes in which others were met lately."""
        self.survey = Survey(store, self.clock)
        """What has changed for those who wait here."""
        self.gate = asyncio.Semaphore(_AT_ONCE)
        """Calls that are about one of many scopes wait here, and not within the store, where their deadline counts."""
        self._meeting = asyncio.Lock()
        self._token = self._met = 0
        self._before: Seen | None = None
        self._journal = Journal(store)
        self._scope = Scope("coordination", on_error=_log_failure)
        self._settlers: dict[asyncio.Task[Any], None] = {}

    @property
    def instance(self) -> str:
        """The name of this instance."""
        return self.leases.owner.name

    @property
    def key(self) -> str:
        """The machine key of this process: where readings of its boot clock mean something."""
        return str(self.leases.owner.key)

    async def meet(self, lease: Lease) -> None:
        """Accept the store in which a lease was opened; if it is another than before, let no token fall (R24).

        To be called under each lease before anything else: the sessions from before are over.

        Raises:
            StoreError: It does not answer.
        """
        if lease.generation == self._met:
            return
        async with self._meeting:  # of many who begin at once, one is enough
            if lease.generation == self._met:
                return
            before = self._before = self._before or self.store.seen  # an attempt without an answer may have changed it
            now = await self.store.adopt(max_ttl=lease.budget.ttl)
            if self._token and before is not None and before.incarnation != now.incarnation:
                await Floor.lift(self.store, self._token)
            self._met, self._before = lease.generation, None

    async def session(self) -> str:
        """The session under which something of this instance is made, in a store that was accepted."""
        lease = await self.leases.lease()
        await self.meet(lease)
        return lease.session

    def remember(self, token: int) -> None:
        """A token was seen: should the store forget it, it is not given out again (R24)."""
        self._token = max(self._token, token)

    def is_idle(self, scope: str, grant: Grant, lease: Lease) -> None:
        """A grant was given up, and nobody waits for it: unless it is used again, it is collected."""
        if grant.value is None and grant.reserved is None:
            self.crowded.discard(scope)
            self.idle[scope] = Idle(grant.revision, grant.token, self.clock.now(), lease.session)

    def enter(self, term: Term) -> None:
        """A term runs from here on; what was asked of it while it was being made ready is heard now."""
        self.terms[term.scope] = term
        self.hear(term.scope)

    def hear(self, scope: str) -> None:
        """Give a request to the term that it means, if that runs here."""
        term, request = self.terms.get(scope), self.requests.get(scope)
        if term is not None and request is not None and request.token == term.token:
            term.ask_to_resign(request.why, successor=request.successor)

    async def close(self, *, patience: float) -> None:
        """Let the settlers finish, at most so many seconds, and end."""
        self.origin.check()
        until = self.clock.now() + nanoseconds(patience)
        # one that ends may leave the next thing to settle behind, as a release does with its note in the journal
        while pending := [task for task in self._settlers if not task.done()]:
            left = until - self.clock.now()
            if left <= 0:
                break
            await finish(pending[0], timeout=seconds(left))
        await self._scope.close()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task that is cancelled at the latest when this closes."""
        try:
            self.origin.check()
        except ForkedError:
            work.close()
            raise
        return self._scope.spawn(work, name=name)

    def settle(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Do something that must be finished even if whoever asked for it no longer waits (R16)."""
        task = self.spawn(work, name)
        self._settlers[task] = None
        task.add_done_callback(self._settlers.pop)
        return task

    async def note(self, entry: Entry, *, unless_noted: bool = False) -> None:
        """Write a journal entry, for a while again and again; a journal that cannot be written harms nobody."""
        backoff, until = Backoff(0.05, 2.0), self.clock.now() + nanoseconds(_NOTED_WITHIN)
        while True:
            try:
                async with self.gate:
                    await self._journal.note(entry, unless_noted=unless_noted)
                return
            except StoreError as error:
                may_pass = isinstance(error, (StoreUnavailableError, OutcomeUnknownError))
                if not may_pass or self.clock.now() >= until:
                    _log.warning("the end of the term %d in %s was not noted: %s", entry.token, entry.scope, error)
                    return
                _log.debug("the end of the term %d in %s is not noted yet: %s", entry.token, entry.scope, error)
            await self.clock.sleep(backoff.delay())


def _log_failure(task: str, error: BaseException) -> None:
    if isinstance(error, SessionLostError):
        _log.debug("%s: %s", task, error)  # what it was about ended with the session
        return
    _log.error("%s failed: %s", task, error, exc_info=error)
