"""The keeper's timers over the runs that begin together: one word to the keeper for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from locum.keeper.lease import Lease, LeaseSource

__all__ = ["Cover"]


class Cover:
    """The timers stand from before the first of some runs begins until the last of them has ended (R6).

    Args:
        leases: Where the timers stand.
        handle: Under which they were armed.
        many: How many runs.
    """

    def __init__(self, leases: LeaseSource, handle: int, many: int) -> None:
        self._leases, self._handle, self._left = leases, handle, many

    @classmethod
    async def over(cls, leases: LeaseSource, lease: Lease, tokens: Collection[int]) -> Self | None:
        """Arm the timers for runs that are about to begin.

        Args:
            leases: Where.
            lease: Under which the runs were claimed.
            tokens: Theirs; the keeper remembers the highest (R24).

        Returns:
            `None` if the lease is over.
        """
        handle = await leases.arm(lease, token=max(tokens))
        return None if handle is None else cls(leases, handle, len(tokens))

    def one_has_ended(self) -> None:
        """One of the runs has ended, or is not begun after all."""
        self._left -= 1
        if not self._left:
            self._leases.disarm(self._handle)
