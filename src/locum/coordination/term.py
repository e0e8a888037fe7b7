"""A term: one uninterrupted time of holding something, as the code that works under it sees it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.clock import seconds
from locum.context import Context
from locum.coordination.fence import fence_of
from locum.errors import TermEndedError
from locum.scopes import post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from locum.clock import Clock
    from locum.coordination.fence import Fence
    from locum.keeper.lease import Lease

__all__ = ["Term"]


class Term(Context):
    """One uninterrupted time of being active.

    Promises: no two terms of one scope share a token, and tokens only grow.
    Assumes: the writes that matter carry the token (`transaction`, `fence`), and an old one is refused.
    On loss: the body is cancelled; what ignores that is ended with its process before anyone else may start.

    Attributes:
        name: What is held, for example the service's name.
        token: The fencing token.
        instance: The instance that holds it.
        since: When it began, for people.
        scope: The name under which it is coordinated.
    """

    def __init__(
        self,
        name: str,
        *,
        scope: str,
        fence_name: str,
        token: int,
        instance: str,
        lease: Lease,
        clock: Clock,
        revision: int,
    ) -> None:
        super().__init__(name, clock=clock)
        self.scope, self.token, self.instance = scope, token, instance
        self.since: datetime = clock.wall()
        self.lease, self.revision = lease, revision
        self._fence_name = fence_name
        self._fences: dict[str, Fence] = {}
        self._warned_of: set[str] = set()
        self._ended: str | None = None
        self._lost = False
        self._wish: str | None = None
        self._successor = ""
        self._changed = asyncio.Event()
        self._forget = lease.on_end(self.lose)

    # -- for the body

    @property
    def is_current(self) -> bool:
        """Whether the work may go on at this very moment: a memory read, no I/O.

        Once `False`, never `True` again (R5).
        """
        if self._ended is None and not self.lease.is_current:
            self.lose("lost its lease: its deadline has passed")
        return self._ended is None

    @property
    def remaining(self) -> float:
        """Seconds for which the term is certain, if no further beat is answered; 0 if it is over."""
        return max(0.0, seconds(self.lease.cancel_at - self._clock.now())) if self.is_current else 0.0

    @property
    def ended(self) -> str | None:
        """Why the term is over, in words that follow the instance's name; `None` while it is not."""
        return None if self.is_current else self._ended

    def check(self) -> None:
        """Raise `TermEndedError` if the term is over; no I/O."""
        if not self.is_current:
            raise TermEndedError(self.scope, self.token, self._ended or "it ended")

    @asynccontextmanager
    async def transaction(self, target: Any) -> AsyncIterator[Any]:
        """A fenced transaction: begun, its token checked, committed at the end, rolled back on an error.

        Args:
            target: An engine, a connection, or an object that has one: see `locum.coordination.fence.fence_of`.

        Yields:
            The connection to work with.

        Raises:
            TermEndedError: The term is over; nothing was begun.
            StaleTermError: A later term has raised the fence; nothing was written.
        """
        self.check()
        fence = await self._raised(fence_of(target))
        async with fence.transaction() as connection:
            await fence.check(connection, self._fence_name, self.token)
            yield connection

    async def fence(self, connection: Any) -> None:
        """Check the token inside the transaction that is open on the user's connection.

        Raises:
            TermEndedError: The term is over.
            StaleTermError: A later term has raised the fence: roll back.
        """
        self.check()
        fence = fence_of(connection)
        await fence.open()
        if fence.database not in self._fences:
            self._warn(fence)
            # each time anew: if the user's transaction is rolled back, so is the raise
            await fence.raise_within(connection, self._fence_name, self.token)
        await fence.check(connection, self._fence_name, self.token)

    # -- for those who run the body

    @property
    def is_lost(self) -> bool:
        """Whether the term was taken from us (otherwise it was given up, or still runs)."""
        return self._lost

    @property
    def wish(self) -> str | None:
        """Why somebody asked for the term's planned end, in words that follow the instance's name."""
        return self._wish

    async def raise_fence(self, fence: Fence) -> None:
        """Raise a registered fence, before the body reads state (R21).

        Raises:
            StaleTermError: It has seen this token already, of another term, or a higher one.
            TimeoutError: An older transaction holds it for longer than this term is certain.
        """
        await fence.open()
        if fence.database in self._fences:
            return  # once a term: one that finds its own token there has not put it there
        await fence.raise_to(self._fence_name, self.token, timeout=self.remaining)
        self._fences[fence.database] = fence

    @property
    def successor(self) -> str:
        """The instance for which the planned end is to leave the grant; empty for whoever is next in line."""
        return self._successor

    def ask_to_resign(self, why: str, *, successor: str = "") -> None:
        """Wish for a planned end; the first wish counts."""
        if self._wish is None:
            self._wish, self._successor = why, successor
        post(self._loop, self._changed.set)

    async def over(self) -> None:
        """Wait until the term is lost or its planned end is wished for."""
        await self._changed.wait()

    def end(self, why: str) -> None:
        """The term is given up: nothing is current any more, writes are refused."""
        if self._ended is None:
            self._ended = why
        self._forget()
        # also when a thread finds out: an event that is set elsewhere than in its loop wakes nobody
        post(self._loop, self._stopping.set)
        post(self._loop, self._changed.set)

    def lose(self, why: str) -> None:
        """The term was taken from us."""
        if self._ended is None:
            self._lost = True
            self.end(why)

    async def _raised(self, fence: Fence) -> Fence:
        await fence.open()
        if fence.database not in self._fences:
            self._warn(fence)
            await self.raise_fence(fence)
        return fence

    def _warn(self, fence: Fence) -> None:
        if fence.database in self._warned_of:
            return
        self._warned_of.add(fence.database)
        self.log.warning(
            "%s is fenced from its first use on, and what was read from it before is not protected: register it with"
            " host.fence(...)",
            fence.database,
        )
