"""Elections: one active per name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from locum.coordination.claim import Claim, Habits, delay_of
from locum.coordination.contest import Contest
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import check_successor, line_of, line_prefix, waiting_in
from locum.coordination.pause import Pause, pause_key
from locum.coordination.term import Term
from locum.coordination.watching import accepting, states
from locum.errors import NotOurTurnError, TransferRefusedError
from locum.names import join
from locum.store import ANY
from locum.telemetry import TermEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from locum.coordination.commons import Commons

__all__ = ["NEVER", "Election", "Office"]

NEVER: Final = None
"""The priority of a candidate that never leads."""


@dataclass(frozen=True, slots=True)
class Office:
    """Who leads, as the grant says.

    Attributes:
        instance: Its name.
        token: Its term's token.
        value: What it has proclaimed; `None` if nothing.
    """

    instance: str
    token: int
    value: bytes | None


class Election(Contest[Term]):
    """One leader per name; whoever has waited longest is next.

    Promises: no two terms share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: the work is cancelled and awaited; only then is the grant released.

    Args:
        commons: Whose session it runs under.
        name: The name of the election.
        priority: Of those who wait, the ones with the highest are next; `NEVER` (`None`) waits without ever leading.
        lock_delay: Seconds for which nobody follows this candidate if its term ends by a failure. A release, a transfer
            or a stop is followed at once. For work that goes on elsewhere when its instance is dead, and checks no
            token.
        scope: Its scope, if it is not that of a name.
    """

    def __init__(
        self,
        commons: Commons,
        name: str,
        *,
        priority: int | None = 0,
        lock_delay: float = 0.0,
        scope: str | None = None,
    ) -> None:
        super().__init__(commons, scope or join("election", name))
        self.name, self.priority = name, priority
        self._habits = Habits(priority=priority or 0, delay=delay_of(lock_delay))

    def _claim(self) -> Claim:
        return Claim(self._commons, self.scope, self.name, self._habits)

    async def _win(self, *, patient: bool) -> Term:
        if self.priority is NEVER:
            if not patient:
                raise NotOurTurnError(self.scope)
            await asyncio.get_running_loop().create_future()  # until whoever waits gives up
        return await super()._win(patient=patient)

    def _begin(self, hold: Term) -> None:
        self._commons.enter(hold)

    def rest(self, term: Term) -> None:
        """Keep a lead whose work has ended: the kernel's timer need not stand any more."""
        self._commons.origin.check()
        cast("Claim", self._claims[term]).rest()

    def lead(self, *, timeout: float | None = None, stop_timeout: float = 30.0) -> AbstractAsyncContextManager[Term]:
        """Wait for the lead and hold it for the length of the block.

        If the term is lost or its end is asked for, the block is cancelled and `TermEndedError` raised from it.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
            TermEndedError: The term ended while the block ran.
        """
        return self.hold(timeout=timeout, stop_timeout=stop_timeout)

    async def proclaim(self, value: bytes | None) -> None:
        """Set the value in office, of the term that is held here: others `watch` it, and it ends with the term.

        Args:
            value: At most 32 KiB; `None` for none.

        Raises:
            TermEndedError: Nothing is held here, or not any more; nothing was changed.
            StaleTermError: A later term leads; nothing was changed.
        """
        term = self._commons.terms.get(self.scope)
        claim = None if term is None else self._claims.get(term)
        if term is None or claim is None:
            raise NotOurTurnError(self.scope)
        await cast("Claim", claim).set_value(term, value)

    async def leader(self) -> Office | None:
        """Who leads, as the grant says at this moment; `None` if it is vacant.

        One that died since is named until somebody follows it.
        """
        return _office(Grant.of(await self._commons.store.read(grant_key(self.scope))))

    def watch(self) -> AsyncIterator[Office | None]:
        """Who leads and what it has proclaimed: at once, and again with each change; the last state always comes.

        States between two looks are passed over. While the store does not answer nothing comes.
        """
        self._commons.origin.check()
        return states(
            self._commons.store, grant_key(self.scope), lambda _: accepting(self.leader, self._commons.session)
        )

    async def pause(self, why: str, *, by: str = "") -> None:
        """Forbid that it is taken over by itself: whoever leads goes on, and a transfer is carried out.

        Args:
            why: The reason, for people.
            by: Who says so; this instance if nobody is named.
        """
        pause = Pause(why, by or self._commons.instance, self._commons.clock.wall().isoformat())
        await self._commons.store.write(pause_key(self.scope), pause.to_bytes(), expect=ANY)

    async def resume(self) -> None:
        """Allow it again."""
        await self._commons.store.delete(pause_key(self.scope), expect=ANY)

    async def waiting(self) -> list[str]:
        """The instances that stand in line at this moment, the next one first.

        Raises:
            StoreError: The store does not answer.
        """
        grant = Grant.of(await self._commons.store.read(grant_key(self.scope)))
        return waiting_in(line_of((await self._commons.store.list(line_prefix(self.scope))).records), grant)

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
        term = self._commons.terms.get(self.scope)
        if term is None:
            raise TransferRefusedError(self.name, to, f"{self._commons.instance} is not active in it")
        check_successor(self.name, to, holder=term.instance, waiting=await self.waiting())
        over = term.ended or term.wish
        if over is not None:
            raise TransferRefusedError(self.name, to, f"the term of {term.instance} ends already: it {over}")
        term.ask_to_resign(f"was transferred to {to}", successor=to)

    def _end(self, hold: Term, why: str) -> None:
        cast("Claim", self._claims[hold]).announce()
        super()._end(hold, why)
        if self._commons.terms.get(self.scope) is hold:  # a lost one may end after the next has begun
            del self._commons.terms[self.scope]
        self._commons.events.tell(
            TermEnded(instance=hold.instance, service=hold.name, token=hold.token, why=why, lost=hold.is_lost)
        )


def _office(grant: Grant) -> Office | None:
    return None if grant.holder is None else Office(grant.holder.instance, grant.token, grant.value)
