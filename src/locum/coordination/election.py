"""Elections: one active per name."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from locum.clock import seconds
from locum.coordination.claim import Claim
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import Entry, check_successor, line_prefix, waiting_in
from locum.errors import (
    SessionLostError,
    StaleTermError,
    StoreError,
    TermEndedError,
    TransferRefusedError,
    WaitTimeoutError,
)
from locum.names import join
from locum.telemetry import TermEnded, logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.commons import Commons
    from locum.coordination.term import Term

__all__ = ["Election"]

_log = logger("coordination.election")


class Election:
    """One leader per name; whoever has waited longest is next.

    Promises: no two terms share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: the work is cancelled and awaited; only then is the grant released.

    Args:
        commons: Whose session it runs under.
        name: The name of the election.
    """

    def __init__(self, commons: Commons, name: str) -> None:
        self.name = name
        self.scope = join("election", name)
        self._commons = commons
        self._claims: dict[int, Claim] = {}

    async def win(self, *, timeout: float | None = None) -> Term:
        """Wait for the lead; whoever gets it must `resign` it, or `abandon` it if it was lost.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
            TimeoutError: An older transaction holds a registered fence.
        """
        self._commons.origin.check()
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._win()
        except TimeoutError:
            if limit.expired() and timeout is not None:
                raise WaitTimeoutError(self.scope, timeout) from None
            raise

    async def _win(self) -> Term:
        while True:
            lease = await self._commons.leases.lease()
            try:
                await self._commons.meet(lease)
            except StoreError as error:
                _log.debug("%s: %s", self.scope, error)
                await self._commons.clock.sleep(seconds(lease.budget.beat) / 4)
                continue
            claim = Claim(self._commons, self.scope, self.name)
            try:
                term = await claim.win(lease)
            except SessionLostError as error:
                _log.debug("%s: in line again: %s", self.scope, error)
                if not lease.is_lost:
                    # the store knows of our end before we do; or our deadline has passed, and beats may yet be answered
                    await self._commons.clock.sleep(0.01 if lease.is_current else seconds(lease.budget.beat) / 4)
                continue
            except StaleTermError as error:
                _log.warning("%s: %s; the next token will be higher", self.scope, error)
                continue
            self._claims[term.token] = claim
            self._commons.enter(term)
            return term

    async def resign(self, term: Term, why: str) -> None:
        """Give the lead up, after its work has ended."""
        self._commons.origin.check()
        self._end(term, why)
        await self._claims.pop(term.token).release(term, why)

    def rest(self, term: Term) -> None:
        """Keep a lead whose work has ended: the kernel's timer need not stand any more."""
        self._commons.origin.check()
        self._claims[term.token].rest()

    def abandon(self, term: Term) -> None:
        """Have done with a lead that was lost, after its work has ended."""
        self._commons.origin.check()
        why = term.ended or "lost its lease"
        self._end(term, why)
        claim = self._claims.pop(term.token)
        if term.lease.is_lost:
            claim.abandon(term)
        else:
            claim.let_go(term, why)  # only its deadline was met: beats may be answered again, and keep the grant ours

    def give_up(self, term: Term, why: str) -> None:
        """Have done with a lead whose work would not end: the session is closed, and it counts as ended (R19)."""
        self._commons.origin.check()
        self._end(term, why)
        self._commons.leases.give_up(term.lease, why)
        self._claims.pop(term.token).abandon(term)

    @asynccontextmanager
    async def lead(self, *, timeout: float | None = None, stop_timeout: float = 30.0) -> AsyncIterator[Term]:
        """Wait for the lead and hold it for the length of the block.

        If the term is lost or its end is asked for, the block is cancelled and `TermEndedError` raised from it.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
            TermEndedError: The term ended while the block ran.
        """
        term = await self.win(timeout=timeout)
        task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled = False

        async def cancel_when_over() -> None:
            nonlocal cancelled
            await term.over()
            cancelled = True
            if not term.is_lost:
                term.end(term.wish or "resigned")
            task.cancel()
            # the keeper sees to the end of a lost one at its deadline, unless beats are answered again before that
            limit = seconds(term.lease.budget.ttl) if term.is_lost else stop_timeout
            await self._commons.clock.sleep(limit)
            self.give_up(term, f"did not stop within {limit:g} s")

        watching = self._commons.spawn(cancel_when_over(), f"end of the lead in {self.scope}")
        self._commons.leads.add(watching)
        watching.add_done_callback(self._commons.leads.discard)
        why = "resigned"
        try:
            yield term
        except asyncio.CancelledError:
            if not cancelled or task.uncancel() > 0:
                raise
            why = term.ended or term.wish or why
            raise TermEndedError(self.scope, term.token, why) from None
        except BaseException as error:
            why = f"raised {type(error).__name__}: {error}"
            raise
        finally:
            watching.cancel()
            if term.token not in self._claims:
                pass  # it was given up: this is the end that it counted as having had
            elif not self._commons.origin.is_here:
                pass  # a forked child leaves the block: the term is its parent's
            elif term.is_lost:
                self.abandon(term)
            else:
                await self.resign(term, why)

    async def transfer(self, *, to: str) -> None:
        """End the term that is held here, as planned, and leave the lead to an instance that waits in line.

        It returns as soon as the end is asked for. Then the work is cancelled and awaited, as by any planned end, and
        the lead given up for that instance: for one TTL nobody else takes it, unless that one leaves the line (R22).

        Args:
            to: The name of the instance.

        Raises:
            TransferRefusedError: Nothing is held here, its end is asked for already, or that instance does not wait.
            StoreError: The store does not answer.
        """
        term, store = self._commons.terms.get(self.scope), self._commons.store
        if term is None:
            raise TransferRefusedError(self.name, to, f"{self._commons.instance} is not active in it")
        grant = Grant.of(await store.read(grant_key(self.scope)))
        line = [Entry.of(record) for record in (await store.list(line_prefix(self.scope))).records]
        check_successor(self.name, to, holder=term.instance, waiting=waiting_in(line, grant))
        over = term.ended or term.wish
        if over is not None:
            raise TransferRefusedError(self.name, to, f"the term of {term.instance} ends already: it {over}")
        term.ask_to_resign(f"was transferred to {to}", successor=to)

    def _end(self, term: Term, why: str) -> None:
        term.end(why)
        if self._commons.terms.get(self.scope) is term:  # a lost one may end after the next has begun
            del self._commons.terms[self.scope]
        self._commons.events.tell(
            TermEnded(instance=term.instance, service=term.name, token=term.token, why=why, lost=term.is_lost)
        )
