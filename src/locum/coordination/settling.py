"""Answers that do not come: a call is repeated until an answer or a conflict tells what became of it (R16).

Only the end of the session stops that: then its close has taken care of whatever landed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from locum.clock import seconds
from locum.coordination.grant import Grant
from locum.errors import (
    ConflictError,
    OutcomeUnknownError,
    SessionClosedError,
    SessionLostError,
    StoreReplacedError,
    StoreUnavailableError,
)
from locum.scopes import Backoff
from locum.telemetry import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from locum.clock import Clock
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["Settling"]

_log = logger("coordination.settling")
T = TypeVar("T")


class Settling:
    """Repeats calls for one scope.

    Args:
        scope: For messages.
        clock: Measures the pauses between two tries.
        gate: Bounds how many calls of one process are on their way at once.
    """

    def __init__(self, scope: str, clock: Clock, gate: asyncio.Semaphore) -> None:
        self._scope, self._clock, self._gate = scope, clock, gate

    async def write(
        self, write: Callable[[], Awaitable[Record]], is_ours: Callable[[Grant], bool] | None, lease: Lease
    ) -> Record | None:
        """Repeat a write, always the same one, until it is known whether it landed.

        Args:
            write: The call: it names the revision or the absence that it expects.
            is_ours: Tells by the record that stands there whether an earlier sending landed; `None` if any tells so.
            lease: Whose session's end ends the repeating.

        Returns:
            The record that was written; `None` if another one stands there.

        Raises:
            SessionLostError: The session ended.
        """
        try:
            return await self.answer(write, lease)
        except ConflictError as error:
            current = cast("Record | None", error.current)
            if current is not None and (is_ours is None or is_ours(Grant.of(current))):
                return current  # an earlier sending had landed
            return None

    async def answer(self, call: Callable[[], Awaitable[T]], lease: Lease) -> T:
        """Repeat a call until it is answered.

        Raises:
            ConflictError: The answer is a conflict.
            SessionLostError: The session ended.
        """
        backoff = Backoff(0.02, seconds(lease.budget.beat))
        while True:
            waits = self._gate.locked()
            try:
                async with self._gate:  # who waits here has no deadline yet: a call has one, from its beginning on
                    if not (waits and lease.is_lost):
                        return await call()
            except SessionClosedError as error:
                raise SessionLostError(f"the session ended in {self._scope}: {error}") from error
            except (StoreUnavailableError, StoreReplacedError, OutcomeUnknownError) as error:
                _log.debug("%s: %s", self._scope, error)
            if lease.is_lost:
                raise SessionLostError(f"the session ended in {self._scope}: {lease.loss}")
            await self._clock.sleep(backoff.delay())
