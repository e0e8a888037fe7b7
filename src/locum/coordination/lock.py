"""Locks: one holder per name, in the order of coming, with a small value that only the holder may change."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from locum.coordination.claim import Claim, Habits, delay_of
from locum.coordination.contest import Contest
from locum.coordination.grant import Grant, grant_key
from locum.coordination.term import Term
from locum.errors import TermEndedError
from locum.names import join

if TYPE_CHECKING:
    from locum.coordination.commons import Commons
    from locum.coordination.contest import Acquisition, Wishes

__all__ = ["Held", "Lock"]


class Held(Term):
    """A lock that is held: a term, and the value that goes with the lock.

    Promises: no two holds of one lock share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: `check()` raises, `ended` says why, the block is cancelled, and `set` is refused.
    """

    def __init__(self, name: str, *, lock: Lock, **fields: Any) -> None:
        super().__init__(name, **fields)
        self._lock = lock

    @property
    def value(self) -> bytes | None:
        """The value as this holder found it or last set it; `None` if there is none. No I/O."""
        return self._lock.claim_of(self).value

    async def set(self, value: bytes | None) -> None:
        """Change the value that goes with the lock, by the same compare-and-set that hands the lock over.

        It outlives the hold: the next holder finds it, also if this one dies. A lock that has one is not collected
        when it is idle; `None` takes the value away.

        Args:
            value: At most 32 KiB.

        Raises:
            TermEndedError: The hold is over; nothing was changed, or the session ended before the answer came.
            StaleTermError: A later holder has the lock; nothing was changed.
        """
        self.check()
        await self._lock.claim_of(self).set_value(self, value)


class Lock(Contest[Held]):
    """One holder per name; whoever has waited longest is next. As a context it waits and holds.

    Promises: two holders never at once, turns in the order of coming, no two holds with one token.
    Assumes: the writes that matter carry the token (`held.transaction`, `held.fence`), or end with their process.
    On loss: `held.check()` raises, `held.ended` says why, and the block is cancelled.

    Args:
        commons: Whose session it runs under.
        name: The name of the lock.
        wishes: How it is to be held.
        lock_delay: Seconds for which nobody follows this holder if it fails; a release is followed at once.
        kind: The first segment of its scope.
    """

    def __init__(
        self,
        commons: Commons,
        name: str,
        wishes: Wishes | None = None,
        *,
        lock_delay: float = 0.0,
        kind: str = "lock",
    ) -> None:
        super().__init__(commons, join(kind, name), wishes)
        self.name = name
        self._habits = Habits(
            make_term=functools.partial(Held, lock=self),
            delay=delay_of(lock_delay),
            eyes=1,
            can_be_paused=False,
            keeps_value=True,
            tells=False,
            at_once=True,
        )

    async def value(self) -> bytes | None:
        """The value that goes with the lock, as the store has it at this moment."""
        return Grant.of(await self._commons.store.read(grant_key(self.scope))).value

    def claim_of(self, held: Held) -> Claim:
        """The acquisition of a hold.

        Raises:
            TermEndedError: It is over.
        """
        claim = self._claims.get(held)
        if claim is None:
            raise TermEndedError(self.scope, held.token, held.ended or "was released")
        return cast("Claim", claim)

    def _claim(self) -> Acquisition[Held]:
        # the terms that it makes are what its habits make
        return cast("Acquisition[Held]", Claim(self._commons, self.scope, self.name, self._habits))
