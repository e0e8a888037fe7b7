"""What may be held together: read-write locks, and semaphores."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from locum.coordination.contest import Contest
from locum.coordination.grant import MOST_SHARES
from locum.coordination.hold import Share
from locum.coordination.lock import Lock
from locum.coordination.share_claim import ShareClaim
from locum.coordination.turn import Permit, Read
from locum.errors import ConfigurationError
from locum.names import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.commons import Commons
    from locum.coordination.contest import Wishes
    from locum.coordination.turn import Manner

__all__ = ["ReadWriteLock", "Semaphore", "Shared"]


class Shared(Contest[Share]):
    """Tries for a scope together with others. As a context it waits and holds.

    Args:
        commons: Whose session it runs under.
        scope: What is held.
        name: What it is called, for people.
        manner: How it is held.
        wishes: How, besides.
        make_share: Makes the holds.
    """

    def __init__(
        self,
        commons: Commons,
        scope: str,
        name: str,
        manner: Manner,
        wishes: Wishes | None = None,
        *,
        make_share: Callable[..., Share] = Share,
    ) -> None:
        super().__init__(commons, scope, wishes)
        self.name, self._manner, self._make_share = name, manner, make_share

    def _claim(self) -> ShareClaim:
        return ShareClaim(self._commons, self.scope, self.name, self._manner, self._make_share)

    def rest(self, share: Share) -> None:
        """Keep a hold whose work has ended: the kernel's timer need not stand any more."""
        cast("ShareClaim", self._claims[share]).rest()


class Semaphore(Shared):
    """So many permits per name; whoever has waited longest is next. As a context it waits for one and holds it.

    Promises: never more permits are held than there are; one whose holder died is free once its session is closed.
    Assumes: all name the same number of permits; where they do not, each goes by its own.
    On loss: `check()` raises, `ended` says why, and the block is cancelled.

    Args:
        commons: Whose session it runs under.
        name: The name of the semaphore.
        permits: How many there are, 1 to 160.
        wishes: How they are held.
        make_share: Makes the holds.

    Raises:
        ConfigurationError: There cannot be so many permits.
    """

    def __init__(
        self,
        commons: Commons,
        name: str,
        permits: int,
        wishes: Wishes | None = None,
        *,
        make_share: Callable[..., Share] = Share,
    ) -> None:
        if not 1 <= permits <= MOST_SHARES:
            raise ConfigurationError(
                f"a semaphore of {permits} permits cannot be: all holders stand in one record, which has room for 1 to"
                f" {MOST_SHARES}"
            )
        super().__init__(commons, join("semaphore", name), name, Permit(permits), wishes, make_share=make_share)


class ReadWriteLock:
    """One writer, or many readers; a writer that waits gets in as soon as those who read now are done.

    Promises: nobody reads while somebody writes, nobody writes twice at once; turns in the order of coming, but for
        readers, who go in together. At most 160 read at once; more wait.
    Assumes: the writes that matter carry the writer's token, and an old one is refused.
    On loss: `check()` raises, `ended` says why, and the block is cancelled.

    Args:
        commons: Whose session it runs under.
        name: The name of the lock.
        wishes: How it is held.
    """

    def __init__(self, commons: Commons, name: str, wishes: Wishes | None = None) -> None:
        self.name, self.scope = name, join("rwlock", name)
        self._commons, self._wishes = commons, wishes

    def read(self) -> Shared:
        """To be held together with others who read."""
        return Shared(self._commons, self.scope, self.name, Read(MOST_SHARES), self._wishes)

    def write(self) -> Lock:
        """To be held alone."""
        return Lock(self._commons, self.name, self._wishes, kind="rwlock")
