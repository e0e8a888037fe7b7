"""A shard, for code that blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.blocking.contexts import Term

if TYPE_CHECKING:
    from locum.coordination import shard

__all__ = ["Shard"]


class Shard(Term):
    """One uninterrupted time of owning one shard, as a plain body sees it: a term, and where the work stands."""

    _handle: shard.Shard

    def __init__(self, handle: shard.Shard) -> None:
        super().__init__(handle)

    @property
    def index(self) -> int:
        """Which one it is, from 0."""
        return self._handle.index

    @property
    def of(self) -> int:
        """How many there are."""
        return self._handle.of

    @property
    def lag(self) -> float | None:
        """How far its work is behind, in whatever the body counts; `None` if unknown."""
        return self._handle.lag

    @lag.setter
    def lag(self, lag: float | None) -> None:
        self._handle.lag = lag

    @property
    def has_progressed(self) -> bool:
        """Whether its work got on under this owner, so that a failure is the first in a row."""
        return self._handle.has_progressed

    @has_progressed.setter
    def has_progressed(self, has_progressed: bool) -> None:
        self._handle.has_progressed = has_progressed

    @property
    def position(self) -> Any:
        """The last checkpoint, of this owner or one before; `None` if there is none. No I/O."""
        return self._handle.position

    def checkpoint(self, position: Any) -> None:
        """Note where the work stands, for whoever owns the shard next; see `locum.coordination.shard.Shard`.

        Raises:
            TermEndedError: The shard is not ours any more; nothing was noted.
            StaleTermError: A later owner has it; nothing was noted.
        """
        self._wait_for(self._handle.checkpoint, position)
