"""A term: one uninterrupted time of holding something alone, as the code that works under it sees it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.coordination.fence import fence_of
from locum.coordination.hold import Hold
from locum.errors import TermEndedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from locum.clock import Clock
    from locum.coordination.fence import Fence
    from locum.keeper.lease import Lease

__all__ = ["Term"]


class Term(Hold):
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
        super().__init__(name, scope=scope, instance=instance, lease=lease, clock=clock)
        self.token, self.revision = token, revision
        self._fence_name = fence_name
        self._fences: dict[str, Fence] = {}
        self._raised_elsewhere: frozenset[str] = frozenset()
        self._warned_of: set[str] = set()
        self._successor = ""

    # -- for the body

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
        if not self._is_raised(fence):
            self._warn(fence)
            # each time anew: if the user's transaction is rolled back, so is the raise
            await fence.raise_within(connection, self._fence_name, self.token)
        await fence.check(connection, self._fence_name, self.token)

    # -- for those who run the body

    def over_error(self, why: str) -> TermEndedError:
        """What is raised where it is over."""
        return TermEndedError(self.scope, self.token, why)

    async def raise_fence(self, fence: Fence) -> None:
        """Raise a registered fence, before the body reads state (R21).

        Raises:
            StaleTermError: It has seen this token already, of another term, or a higher one.
            TimeoutError: An older transaction holds it for longer than this term is certain.
        """
        await fence.open()
        if self._is_raised(fence):
            return  # once a term: one that finds its own token there has not put it there
        await fence.raise_to(self._fence_name, self.token, timeout=self.remaining)
        self._fences[fence.database] = fence

    @property
    def raised(self) -> frozenset[str]:
        """The databases whose fences this term has raised."""
        return frozenset(self._fences)

    def take_over(self, raised: Iterable[str]) -> None:
        """The fences of these databases were raised for this very term, in another process."""
        self._raised_elsewhere |= frozenset(raised)

    @property
    def successor(self) -> str:
        """The instance for which the planned end is to leave the grant; empty for whoever is next in line."""
        return self._successor

    def ask_to_resign(self, why: str, *, successor: str = "") -> None:
        """Wish for a planned end; the first wish counts."""
        if self._wish is None:
            self._successor = successor
        super().ask_to_resign(why)

    def _is_raised(self, fence: Fence) -> bool:
        return fence.database in self._fences or fence.database in self._raised_elsewhere

    async def _raised(self, fence: Fence) -> Fence:
        await fence.open()
        if not self._is_raised(fence):
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
