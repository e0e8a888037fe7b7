"""One session as those who depend on it see it: whether it still covers them, and how they learn that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from locum.identity import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.keeper.budget import Budget
    from locum.keeper.cell import Cell
    from locum.keeper.owner import Owner
    from locum.store import Seen

__all__ = ["Lease", "LeaseSource"]


class Lease:
    """A session from its opening to its loss.

    Args:
        session: The session's id.
        generation: Counts the sessions of this process.
        budget: Of the granted TTL.
        cell: Where the deadlines stand.
        clock: The clock they are counted on.
    """

    def __init__(self, session: str, generation: int, budget: Budget, cell: Cell, clock: Clock) -> None:
        self.session, self.generation, self.budget = session, generation, budget
        self._cell, self._clock = cell, clock
        self._origin = Origin("the lease of this instance")
        self._watchers: dict[Callable[[str], object], None] = {}  # told in the order of coming
        self.loss = ""

    @property
    def is_current(self) -> bool:
        """Whether it covers its terms at this very moment: a memory read, no I/O.

        Raises:
            ForkedError: This is a forked child.
        """
        self._origin.check()
        return not self.loss and self._cell.generation == self.generation and self._clock.now() < self._cell.cancel_at

    @property
    def is_lost(self) -> bool:
        """Whether the session is over for good."""
        return bool(self.loss)

    @property
    def cancel_at(self) -> int:
        """When its terms are cancelled, unless a beat is answered before (boot clock, ns)."""
        return self._cell.cancel_at if self._cell.generation == self.generation else 0

    def on_end(self, watcher: Callable[[str], object]) -> Callable[[], None]:
        """Call `watcher`, with the reason in words, when the lease no longer covers its terms.

        Returns:
            Takes the watcher back.
        """
        self._watchers[watcher] = None
        return lambda: self._watchers.pop(watcher, None)

    def miss(self, why: str) -> None:
        """The deadline has passed: every term under this lease is over, though the session may yet live (R5)."""
        for watcher in list(self._watchers):
            watcher(why)

    def lose(self, why: str) -> None:
        """The session is over."""
        self.loss = self.loss or why
        self.miss(why)


class LeaseSource(Protocol):
    """Where a process has its leases from: its keeper, be it the parent process or a thread."""

    @property
    def owner(self) -> Owner:
        """What the session's record says of this instance."""

    @property
    def seen(self) -> Seen | None:
        """What the keeper had seen of the store when the lease began: so much of it must be there (R25)."""

    @property
    def clock(self) -> Clock:
        """The clock on which the leases are counted."""

    async def lease(self) -> Lease:
        """The lease that is there now; waits while there is none."""

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        """Have the keeper enforce the lease's deadline from here on: a body is about to run (R6).

        Args:
            lease: Under which it runs.
            token: Of its term; the keeper remembers the highest (R24).

        Returns:
            A handle for `disarm`; `None` if the lease is over.
        """

    def disarm(self, handle: int) -> None:
        """The body has ended."""

    def give_up(self, lease: Lease, why: str) -> None:
        """End the session although a body that would not stop still runs under it (R19).

        Under a keeper process, or with enforcement `kill`, this process ends with it.
        """
