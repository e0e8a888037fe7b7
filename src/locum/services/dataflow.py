"""Streams that are worked through in shards: fetch, process, checkpoint, again and again, each shard by its one owner.

Where the work is done in a SQL database, what a batch writes and how far the shard is are one fenced transaction: the
batch is done once, whoever is cut off in the middle of it. A shard fetches when its last batch is done, and an instance
works on so many batches at once and no more; so what is not done waits where it comes from.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Sequence  # in signatures that are read when the program runs
from dataclasses import dataclass
from typing import Any, ClassVar

from locum.clock import Clock, seconds
from locum.coordination.fence import fence_of
from locum.coordination.shard import Shard  # the same
from locum.scopes import Backoff
from locum.services.outages import is_away
from locum.services.sharded import ShardedService

__all__ = ["Batch", "DataflowService", "Pace"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a fetch brought.

    Attributes:
        items: What is to be done, in order.
        position: Where the shard stands when they are done: anything that JSON has.
        lag: How far the shard is behind besides, in whatever you count; `None` if that is unknown.
    """

    items: Sequence[Any]
    position: Any
    lag: float | None = None


class Pace:
    """How many items to fetch, so that a batch takes about as long as it should. Without I/O.

    Args:
        target: Seconds that a batch should take.
        least: The smallest batch.
        most: The largest one.
    """

    def __init__(self, target: float, *, least: int, most: int) -> None:
        self._target, self._least, self._most = target, least, most
        self.size = least
        """How many to fetch next."""

    def took(self, items: int, duration: float) -> None:
        """A batch of so many took so many seconds: the next one is at most twice as large."""
        wanted = self._most if duration <= 0 else int(items * self._target / duration)
        self.size = max(self._least, min(self._most, 2 * self.size, wanted))


@dataclass(slots=True)
class _Course:
    """How far one owner is with one shard.

    Attributes:
        target: The database of the work; `None` if there is none.
        pace: How much is fetched.
        is_fenced: Whether the database knows of this owner.
        is_known: Whether the position is known. It is read once: who has the shard's token alone moves it.
        position: Where the work stands.
    """

    target: Any
    pace: Pace
    is_fenced: bool = False
    is_known: bool = False
    position: Any = None


class DataflowService(ShardedService):
    """Works through a stream, of which each shard is one part.

    Attributes:
        batch_seconds: Seconds that a batch should take: its size follows from how long the last one took.
        least: The smallest batch.
        most: The largest one.
        at_once: On how many batches one instance works at the same moment.
        idle: Seconds after a fetch that brought nothing.
    """

    batch_seconds: ClassVar[float] = 0.1
    least: ClassVar[int] = 1
    most: ClassVar[int] = 1000
    at_once: ClassVar[int] = 16
    idle: ClassVar[float] = 0.2

    async def fetch(self, shard: Shard, position: Any, limit: int) -> Batch:
        """What comes after a position.

        Args:
            shard: Of which shard.
            position: As a `Batch` said; `None` at the beginning.
            limit: How many items, at most.
        """
        raise NotImplementedError(f"{type(self).__name__} must say where its items come from: override fetch")

    async def prepare(self, shard: Shard, items: Sequence[Any]) -> Sequence[Any]:
        """What is done before the transaction, such as asking others: optional, and done again if a batch is cut off.

        Args:
            shard: Of which shard.
            items: What a fetch brought.

        Returns:
            What `process` is given.
        """
        del shard
        return items

    async def process(self, shard: Shard, items: Sequence[Any], connection: Any) -> None:
        """Do the items of a batch. An error undoes it, and the shard is run again after a pause.

        Args:
            shard: Of which shard.
            items: What `prepare` has made of what a fetch brought.
            connection: In a fenced transaction, which is committed together with the position; `None` where there is no
                `database`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override process")

    def database(self) -> Any:
        """Where the work of one shard is done: an engine, or a connection that no other shard uses.

        Without one, the position is kept in the store, after the batch: then a batch that was cut off is done again.
        """
        return None

    async def run_shard(self, shard: Shard) -> None:
        """Fetch, process, checkpoint, until the shard is another's; a database that is away is waited for."""
        pause = Backoff(0.05, 5.0)
        course = _Course(self.database(), Pace(self.batch_seconds, least=self.least, most=self.most))
        while not shard.stopping:
            try:
                if not course.is_known:
                    await self._find(shard, course)
                is_busy = await self._turn(shard, course)
            except Exception as error:
                if not is_away(error):
                    raise
                course.is_known = False  # it may be the answer of a commit that was lost
                shard.log.warning("shard %d waits for its database: %s", shard.index, error)
                await shard.sleep(pause.delay())
            else:
                pause.reset()
                if not is_busy:
                    await shard.sleep(self.idle)

    async def _find(self, shard: Shard, course: _Course) -> None:
        """Read where the shard stands; the fence is raised before anything is read under it (R21)."""
        if course.target is None:
            course.position = shard.position
        else:
            if not course.is_fenced:
                fence = fence_of(course.target)
                await fence.make_positions()
                await shard.raise_fence(fence)
                course.is_fenced = True
            course.position = await read_position(shard, course.target)
        course.is_known = True

    async def _turn(self, shard: Shard, course: _Course) -> bool:
        """One batch; whether there was one."""
        async with self._room:
            batch = await self.fetch(shard, course.position, course.pace.size)
            shard.lag = batch.lag
            if not batch.items:
                return False
            begun = self._clock.now()
            items = await self.prepare(shard, batch.items)
            kept = json.dumps(batch.position)
            if course.target is None:
                await self.process(shard, items, None)
                await shard.checkpoint(batch.position)
            else:
                async with shard.transaction(course.target) as connection:
                    await self.process(shard, items, connection)
                    await fence_of(connection).keep_position(connection, shard.scope, kept)
            shard.has_progressed = True
            course.position = json.loads(kept)  # as another owner would read it
            course.pace.took(len(batch.items), seconds(self._clock.now() - begun))
            return True

    @functools.cached_property
    def _clock(self) -> Clock:
        return Clock()

    @functools.cached_property
    def _room(self) -> asyncio.Semaphore:
        """For the batches of all shards of this instance."""
        return asyncio.Semaphore(self.at_once)


async def read_position(shard: Shard, target: Any) -> Any:
    """How far a shard is, as its database says under its fence; `None` at the beginning."""
    async with shard.transaction(target) as connection:
        found = await fence_of(connection).position(connection, shard.scope)
    return None if found is None else json.loads(found)
