"""What every recipe does with a scope: try for it under one session after the other, hold it, give it up.

As a context a contest waits and holds, with the wishes that it was made with.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from locum.clock import seconds
from locum.coordination.block import held
from locum.errors import NotOurTurnError, SessionLostError, StaleTermError, StoreError, WaitTimeoutError
from locum.floor import Floor
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from locum.coordination.commons import Commons
    from locum.coordination.hold import Hold
    from locum.keeper.lease import Lease

__all__ = ["Acquisition", "Contest", "Wishes"]

_log = logger("coordination.contest")
H = TypeVar("H", bound="Hold")


class Acquisition(Protocol[H]):
    """One try for a scope: a `Claim` or a `ShareClaim`."""

    async def win(self, lease: Lease, *, patient: bool = True) -> H:
        """Wait for it."""

    async def release(self, hold: H, why: str) -> None:
        """Give it up."""

    def let_go(self, hold: H, why: str) -> asyncio.Task[None]:
        """The same, for who does not wait for it."""

    def abandon(self, hold: H) -> None:
        """Have done with what was lost with its session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How somebody wants to hold something.

    Attributes:
        timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.
        stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.
        reentrant: Whether the task that holds it may enter it again: it then has the same hold, which is given up when
            the outermost block ends.
        on_lost: Called once, in the event loop, with the reason, when the hold is lost.
    """

    timeout: float | None = None
    stop_timeout: float = 30.0
    reentrant: bool = False
    on_lost: Callable[[str], object] | None = None


class Contest(ABC, Generic[H]):
    """Tries for one scope, and has what becomes of the holds.

    Args:
        commons: Whose session it runs under.
        scope: What is held.
        wishes: How, where nothing else is said.
    """

    def __init__(self, commons: Commons, scope: str, wishes: Wishes | None = None) -> None:
        self.scope = scope
        self._commons, self._wishes = commons, wishes or Wishes()
        self._claims: dict[H, Acquisition[H]] = {}
        self._entered: dict[object, list[AsyncExitStack]] = {}

    @abstractmethod
    def _claim(self) -> Acquisition[H]:
        """One more try."""

    def _begin(self, hold: H) -> None:
        """A hold begins."""

    def _end(self, hold: H, why: str) -> None:
        """A hold ends."""
        hold.end(why)

    async def win(self, *, timeout: float | None = None) -> H:
        """Wait for it; whoever gets it must `resign` it, or `abandon` it if it was lost.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.

        Raises:
            WaitTimeoutError: It was not ours in time; no place in line is left behind.
            TimeoutError: An older transaction holds a registered fence.
        """
        self._commons.origin.check()
        patient = timeout is None or timeout > 0
        # who asks once waits for answers nevertheless, as long as one is worth waiting for
        limit = asyncio.timeout(timeout if patient else 4 * self._commons.store.call_timeout)
        try:
            async with limit:
                return await self._win(patient=patient)
        except NotOurTurnError:
            raise WaitTimeoutError(self.scope, 0) from None
        except TimeoutError:
            if limit.expired() and timeout is not None:
                raise WaitTimeoutError(self.scope, timeout) from None
            raise

    async def _win(self, *, patient: bool) -> H:
        while True:
            lease = await self._commons.leases.lease()
            try:
                await self._commons.meet(lease)
            except StoreError as error:
                _log.debug("%s: %s", self.scope, error)
                await self._commons.clock.sleep(seconds(lease.budget.beat) / 4)
                continue
            claim = self._claim()
            try:
                hold = await claim.win(lease, patient=patient)
            except SessionLostError as error:
                _log.debug("%s: in line again: %s", self.scope, error)
                if not lease.is_lost:
                    # the store knows of our end before we do; or our deadline has passed, and beats may yet be answered
                    await self._commons.clock.sleep(0.01 if lease.is_current else seconds(lease.budget.beat) / 4)
                continue
            except StaleTermError as error:
                _log.warning("%s: %s; the next token will be higher", self.scope, error)
                continue
            self._claims[hold] = claim
            if self._wishes.on_lost is not None:
                hold.when_lost(self._wishes.on_lost)
            self._begin(hold)
            return hold

    def has(self, hold: H) -> bool:
        """Whether nothing has become of a hold yet."""
        return hold in self._claims

    async def resign(self, hold: H, why: str) -> None:
        """Give it up, after its work has ended."""
        self._commons.origin.check()
        self._end(hold, why)
        await self._claims.pop(hold).release(hold, why)

    async def refused(self, error: StaleTermError) -> None:
        """A fence has refused the token of a hold: those that follow are above whatever it has seen (R20)."""
        if error.highest is None:
            return
        try:
            await Floor.lift(self._commons.store, error.highest)
        except StoreError as failure:
            _log.debug("%s: %s is not the floor yet: %s", self.scope, error.highest, failure)  # it will refuse again

    def abandon(self, hold: H) -> None:
        """Have done with a hold that was lost, after its work has ended."""
        self._commons.origin.check()
        why = hold.ended or "lost its lease"
        self._end(hold, why)
        claim = self._claims.pop(hold)
        if hold.lease.is_lost:
            claim.abandon(hold)
        else:
            claim.let_go(hold, why)  # only its deadline was met: beats may be answered again, and keep it ours

    def give_up(self, hold: H, why: str) -> None:
        """Have done with a hold whose work would not end: the session is closed, and it counts as ended (R19)."""
        self._commons.origin.check()
        self._end(hold, why)
        self._commons.leases.give_up(hold.lease, why)
        self._claims.pop(hold).abandon(hold)

    @asynccontextmanager
    async def hold(
        self, *, timeout: float | None = None, stop_timeout: float | None = None, by: object = None
    ) -> AsyncIterator[H]:
        """Wait for it and hold it for the length of the block.

        If it is lost or its end is asked for, the block is cancelled and `HoldEndedError` raised from it.

        Args:
            timeout: Seconds to wait in line, `0` asks once; as was wished if it is not given.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.
            by: Whose hold it is, where it may be entered again; this task if nobody is named.

        Raises:
            WaitTimeoutError: It was not ours in time; no place in line is left behind.
            HoldEndedError: It ended while the block ran.
        """
        self._commons.origin.check()
        whose = (self.scope, by or asyncio.current_task())
        mine: H | None = self._commons.entered.get(whose) if self._wishes.reentrant else None
        if mine is not None:
            mine.check()
            yield mine
            return
        won = await self.win(timeout=self._wishes.timeout if timeout is None else timeout)
        limit = self._wishes.stop_timeout if stop_timeout is None else stop_timeout
        async with held(won, self, self._commons, stop_timeout=limit) as hold:
            self._commons.entered[whose] = hold
            try:
                yield hold
            finally:
                self._commons.entered.pop(whose, None)

    @asynccontextmanager
    async def try_hold(self, *, by: object = None) -> AsyncIterator[H | None]:
        """Ask once, and hold it for the length of the block if it is free; otherwise the block has `None`."""
        async with AsyncExitStack() as stack:
            try:
                hold = await stack.enter_async_context(self.hold(timeout=0, by=by))
            except WaitTimeoutError:
                hold = None
            yield hold

    async def __aenter__(self) -> H:
        async with AsyncExitStack() as stack:
            hold = await stack.enter_async_context(self.hold())
            self._entered.setdefault(asyncio.current_task(), []).append(stack.pop_all())
        return hold

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        task = asyncio.current_task()
        stack = self._entered[task].pop()
        if not self._entered[task]:
            del self._entered[task]
        return await stack.__aexit__(kind, error, trace)
