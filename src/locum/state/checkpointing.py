"""When a checkpoint is written, and by whom: the primary, when the log has grown; the others forget what it has."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from locum.errors import LogGapError, StaleTermError, StoreError
from locum.scopes import Backoff
from locum.state.checkpoints import Item
from locum.state.record import folded
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.state.partition import Partition
    from locum.state.record import LogRecord

__all__ = ["AHEAD", "Checkpointing"]

AHEAD: Final = 1000
"""The most records that the log is ahead of the checkpoint: what an opening or a promotion may have to read."""
_DUE: Final = AHEAD // 2  # records after which it is written
_DUE_CHANGES: Final = 20_000  # or so many changes
_SLICE: Final = 500  # items of one transaction
_KEPT: Final = AHEAD  # records before the checkpoint, for those who follow
_REMEMBERED: Final = 20 * AHEAD  # records for which it is remembered what is gone
_log = logger("state")


class Checkpointing:
    """The records that came after the checkpoint, as one replica knows it.

    Args:
        partition: The partition.
        let_grow: Told whether the log may become longer.
        refused: Told when a later term is there, or the log has lost what it had.
    """

    def __init__(
        self,
        partition: Partition,
        *,
        let_grow: Callable[[bool], object],
        refused: Callable[[StaleTermError | LogGapError], object],
    ) -> None:
        self._partition, self._let_grow, self._refused = partition, let_grow, refused
        self._after: deque[LogRecord] = deque()
        self._changes = 0
        self._token: int | None = None
        self._due = asyncio.Event()

    def __len__(self) -> int:
        return len(self._after)

    def add(self, records: Iterable[LogRecord]) -> None:
        """Records that have come."""
        for record in records:
            self._after.append(record)
            self._changes += len(record.changes)
        self._look()

    def begin_anew(self, records: Iterable[LogRecord]) -> None:
        """The records after a checkpoint, and no others."""
        self._after.clear()
        self._changes = 0
        self.add(records)

    def write_for(self, token: int | None) -> None:
        """From now on the checkpoint is written here, for a term; `None`: it is written by others."""
        self._token = token
        self._look()

    def moved(self, checkpoint: int) -> None:
        """The checkpoint stands there."""
        while self._after and self._after[0].position <= checkpoint:
            self._changes -= len(self._after.popleft().changes)
        self._let_grow(len(self._after) < AHEAD)

    async def run(self) -> None:
        """Write it, or see that it was written, whenever there is enough for it."""
        backoff = Backoff(0.1, 5.0)
        while True:
            await self._due.wait()
            try:
                if self._token is None:
                    self.moved((await self._partition.head()).checkpoint)
                    if self._is_due:
                        await asyncio.sleep(backoff.delay())  # nobody writes it just now
                        continue
                else:
                    await self._write(self._token)
                backoff.reset()
            except (StaleTermError, LogGapError) as error:
                if isinstance(error, LogGapError) or self._token == error.token:  # else the term was over already
                    self._token = None
                    self._refused(error)
            except StoreError as error:
                _log.warning("the checkpoint of %s cannot be written for now: %s", self._partition.name, error)
                await asyncio.sleep(backoff.delay())
            self._due.clear()
            self._look()

    # -- inside

    @property
    def _is_due(self) -> bool:
        return len(self._after) >= _DUE or self._changes >= _DUE_CHANGES

    def _look(self) -> None:
        if self._is_due:
            self._due.set()
        self._let_grow(len(self._after) < AHEAD)

    async def _write(self, token: int) -> None:
        records = list(self._after)
        to = records[-1].position
        items = [Item(change, position) for change, position in folded(records)]
        for at in range(0, len(items), _SLICE):
            await self._partition.write_items(token, items[at : at + _SLICE])
        await self._partition.move(token, to=to, kept=to - _KEPT + 1, horizon=max(0, to - _REMEMBERED))
        self.moved(to)
