"""What a replica knows of its partition: it has loaded it, takes in what comes next, and tells who wants to know."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from locum.clock import seconds
from locum.errors import LogGapError, StoreError
from locum.scopes import Backoff
from locum.state.contents import Contents
from locum.state.dictionary import ReliableDictionary
from locum.state.loading import catch_up, load, read_on
from locum.state.pace import SLICE, Pace
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from locum.clock import Clock
    from locum.state.loading import Loaded
    from locum.state.partition import Partition
    from locum.state.record import Change, LogRecord

__all__ = ["Replica"]

_log = logger("state")


class Replica:
    """What one replica holds of a partition, at some position of its log.

    Attributes:
        contents: What it holds.
        has_lost: Whether it had what its log has not any more, and nobody was told yet.

    Args:
        partition: The partition.
        clock: The clock.
        took: Told of records that were taken in, and whether they are all that there are after the checkpoint.
    """

    def __init__(
        self, partition: Partition, clock: Clock, *, took: Callable[[Sequence[LogRecord], bool], object]
    ) -> None:
        self._partition, self._clock, self._took = partition, clock, took
        self.contents = Contents()
        self.has_lost = False
        self._behind = asyncio.Event()  # the log goes on somewhere else: `mend` makes that good
        self._reading = asyncio.Lock()
        self._known_at: int | None = None
        self._token: int | None = None  # of the record at its position
        self._dictionaries: dict[str, ReliableDictionary[Any]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    # -- what is read

    @property
    def number(self) -> int:
        """Of the partition's rows."""
        return self._partition.number

    @property
    def position(self) -> int:
        """Of the last record that was taken in."""
        return self.contents.position

    @property
    def is_behind(self) -> bool:
        """Whether it has to catch up before it can take what comes next."""
        return self._behind.is_set()

    @property
    def age(self) -> float:
        """Seconds: all that was acknowledged before then is taken in."""
        return math.inf if self._known_at is None else seconds(self._clock.now() - self._known_at)

    def dictionary(self, name: str) -> ReliableDictionary[Any]:
        """A dictionary, which is the same for the same name."""
        found = self._dictionaries.get(name)
        if found is None:
            found = self._dictionaries[name] = ReliableDictionary(name, lambda: self.contents)
        return found

    async def reach(self, position: int) -> None:
        """Wait until all up to a position is taken in."""
        if self.position < position:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((position, reached))
            await reached

    # -- what comes

    async def load(self) -> Loaded:
        """Hold what the partition holds now."""
        asked_at = self._clock.now()
        contents, loaded = await load(self._partition)
        await self._hold(contents, loaded)
        self.complete_as_of(asked_at)
        for one in self._dictionaries.values():
            one.tell_anew()
        self._tell_who_waits()
        return loaded

    async def read_on(self) -> int:
        """Take in what the log has by now.

        Returns:
            How many records were read.
        """
        async with self._reading:
            return await self._read_on()

    async def receive(self, records: Sequence[LogRecord], asked_at: int | None) -> None:
        """Take what was followed: the last record that is known, and those after it; unless the log has no such."""
        if self.is_behind or self._reading.locked():
            return  # who reads on by itself takes all
        async with self._reading:
            if self.position:
                last, records = records[:1], records[1:]
                if not last or last[0].position != self.position or self._token not in (None, last[0].token):
                    self._behind.set()  # it was truncated, or the database was put back
                    return
                self._token = last[0].token
            if records and records[0].position != self.position + 1:
                self._behind.set()
                return
            await self._take_on(records)
            if asked_at is not None:
                self.complete_as_of(asked_at)

    def take(self, records: Sequence[LogRecord]) -> None:
        """Take in the records that come next."""
        for record in records:
            self.contents.apply(record.changes, record.position)
            self._tell(record.changes)
        if records:
            self._token = records[-1].token
            self._took(records, False)
        self._tell_who_waits()

    def complete_as_of(self, asked_at: int) -> None:
        """All that there was at an instant is taken in."""
        self._known_at = asked_at if self._known_at is None else max(asked_at, self._known_at)

    async def mend(self) -> None:
        """Make good that the log goes on somewhere else, whenever it does; for ever."""
        backoff = Backoff(0.1, 5.0)
        while True:
            await self._behind.wait()
            try:
                async with self._reading:
                    if self._behind.is_set():  # who was promoted meanwhile has read on
                        await self._read_on()
                backoff.reset()
            except StoreError as error:
                _log.debug("%s cannot catch up for now: %s", self._partition.name, error)
                await self._clock.sleep(backoff.delay())

    # -- inside

    async def _read_on(self) -> int:
        asked_at, known = self._clock.now(), self.position
        if await self._partition.continues(known, self._token):
            try:
                records = await read_on(self._partition, known)
                await self._take_on(records)
            except LogGapError:
                records = (await self._catch_up()).records
        else:
            self.has_lost = True
            await self._partition.find()
            records = (await self.load()).records
            _log.error(
                "%s has lost data: its database was put back. This replica had %d records of its log, which has %d now;"
                " it holds what is there",
                *(self._partition.name, known, self.position),
            )
        self._behind.clear()
        self.complete_as_of(asked_at)
        return len(records)

    async def _catch_up(self) -> Loaded:
        try:
            loaded = await catch_up(self._partition, self.position)
        except LogGapError as error:
            _log.info("%s", error)
            return await self.load()
        many = sum(len(record.changes) for record in loaded.records) + len(loaded.changes) > SLICE
        contents = await self.contents.copy(Pace()) if many else self.contents
        await self._hold(contents, loaded)
        pace = Pace()
        for changes in (loaded.changes, *(record.changes for record in loaded.records)):
            for at in range(0, len(changes), SLICE):
                self._tell(changes[at : at + SLICE])
                await pace.did(min(SLICE, len(changes) - at))
        self._tell_who_waits()
        return loaded

    async def _hold(self, contents: Contents, loaded: Loaded) -> None:
        """Take in items and the records after them, for who reads at once: what is between was never committed."""
        pace, is_shown = Pace(), contents is self.contents
        for at in range(0, len(loaded.changes), SLICE):
            some = loaded.changes[at : at + SLICE]
            contents.apply(some, loaded.checkpoint)
            if not is_shown:
                await pace.did(len(some))
        for record in loaded.records:
            contents.apply(record.changes, record.position)
            if not is_shown:
                await pace.did(len(record.changes))
        contents.position = loaded.position
        self.contents = contents
        self._token = loaded.records[-1].token if loaded.records else None
        self._took(loaded.records, True)

    async def _take_on(self, records: Sequence[LogRecord]) -> None:
        """Take in the records that come next, some at a time: each of them leaves a committed state."""
        pace = Pace()
        for record in records:
            self.take([record])
            await pace.did(len(record.changes))

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            told = self._dictionaries.get(change.dictionary)
            if told is not None:
                told.tell(change.key, change.value, self.position)

    def _tell_who_waits(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, reached in waiting:
            if wanted > self.position:
                self._waiting.append((wanted, reached))
            elif not reached.done():
                reached.set_result(None)
