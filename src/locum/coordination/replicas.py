"""The replicas of a service's partitions: who carries which, by a plan, and who is the primary, by a grant.

The plan says only where replicas are. A replica that has caught up stands in line for its partition's grant; so the
next primary is there before the last one is gone, and a move is: carry, catch up, stand in line, and have the grant
left to one. Where primaries are unevenly spread each of them sees that from what the store says, and hands over.

Promises: never two primaries of one partition; each partition is carried by as many instances as are wanted and there.
Assumes: what a primary writes is fenced by its token.
On loss: with the session all that an instance is primary of is gone; it carries on under the next one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from locum.coordination.assignment import MOST_SHARDS
from locum.coordination.election import Election
from locum.coordination.grant import Grant
from locum.coordination.line import line_of, line_prefix, waiting_in
from locum.coordination.partitions import declare
from locum.coordination.placement import place, swaps
from locum.coordination.replica_report import KIND, REPORTS
from locum.coordination.shards import Sharding, Shards
from locum.errors import ConfigurationError
from locum.names import join
from locum.store import ANY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locum.coordination.commons import Commons
    from locum.coordination.partitions import Partition, Partitioning
    from locum.coordination.plan import Look
    from locum.coordination.replica_report import Report
    from locum.store import Record

__all__ = ["Replicas"]


class Replicas(Shards):
    """The replicas of one service: its places are planned as shards are, so many for each partition.

    Args:
        commons: Whose session an instance carries them under.
        name: The service's name.
        partitioning: How it is divided.
        replicas: How many instances carry each partition.
        join_delay: Seconds for which an instance that joins must have been there before it carries something, and for
            which primaries must have been badly spread before one hands over.
        rebalance_delay: Seconds for which the places of an instance that went wait for its name to come back.

    Raises:
        ConfigurationError: There cannot be so many.
    """

    kind: ClassVar[str] = KIND

    def __init__(
        self,
        commons: Commons,
        name: str,
        partitioning: Partitioning,
        *,
        replicas: int,
        join_delay: float,
        rebalance_delay: float,
    ) -> None:
        count = len(partitioning.names)
        if not 1 <= replicas * count <= MOST_SHARDS:
            raise ConfigurationError(f"{name}: {replicas!r} replicas of {count} partitions cannot be")
        sharding = Sharding(of=count * replicas, join_delay=join_delay, rebalance_delay=rebalance_delay)
        super().__init__(commons, name, sharding)
        self.partitioning, self.replicas = partitioning, replicas
        self._elections = [
            Election(commons, f"{name}/{one.name}", scope=join(self.kind, name, str(one.index)))
            for one in partitioning.partitions
        ]

    def election(self, index: int) -> Election:
        """The election of a partition's primary, which knows the terms that it gave."""
        return self._elections[index]

    def carriers(self, look: Look) -> list[tuple[str, ...]]:
        """For each partition the instances that are to carry it."""
        owners = [look.plan.owner(place) for place in range(self.sharding.of)]
        return [
            tuple(name for name in owners[at : at + self.replicas] if name is not None)
            for at in range(0, len(owners), self.replicas)
        ]

    def primaries(self, look: Look) -> list[str | None]:
        """For each partition the instance that is its primary and is there."""
        return [look.has(index) for index in range(len(self.partitioning.names))]

    def swaps(self, look: Look) -> dict[int, str]:
        """By partition who is to be its primary in the place of the one that is."""
        staying = look.staying
        carried = [[name for name in one if name in staying] for one in self.carriers(look)]
        # what was moved last, by somebody's wish perhaps, is moved last again
        revisions = [grant.revision if (grant := look.grants.get(index)) else 0 for index in range(len(carried))]
        return swaps(carried, self.primaries(look), order=sorted(range(len(carried)), key=revisions.__getitem__))

    async def look(self) -> Look:
        """What the store says at this moment; in one that is new, how the service is divided is written down first.

        Raises:
            ConfigurationError: It is divided otherwise.
            StoreError: It does not answer.
        """
        look = await super().look()
        if not look.plan.epoch:  # nobody has planned in it, as after it was wiped
            await self.declare()
        return look

    def owners(self, look: Look, there: Mapping[str, float]) -> tuple[str | None, ...]:
        """Which instance each place is to have; those of one partition are different ones."""
        # whoever is the primary is the last to lose its place
        before = [
            ((primary,) if primary is not None else ()) + carried
            for primary, carried in zip(self.primaries(look), self.carriers(look), strict=True)
        ]
        placed = place(before, there.keys(), self.replicas)
        return tuple(name for one in placed for name in (*one, *(None,) * (self.replicas - len(one))))

    async def declare(self) -> None:
        """Write down how the service is divided, if nobody has.

        Raises:
            ConfigurationError: Somebody has said something else.
            StoreError: The store does not answer.
        """
        await declare(self._commons.store, self.name, self.partitioning)

    async def ready(self, look: Look) -> list[frozenset[str]]:
        """For each partition the instances that are its primary, or have caught up and wait to be.

        Raises:
            StoreError: The store does not answer.
        """
        lines: defaultdict[int, list[Record]] = defaultdict(list)
        prefix = line_prefix(join(self.kind, self.name))
        for record in (await self._commons.store.list(prefix)).records:
            index = record.key.removeprefix(prefix).partition("/")[0]
            if index.isdecimal():
                lines[int(index)].append(record)
        return [
            frozenset([*([primary] if primary is not None else []), *waiting_in(line_of(lines[index]), Grant())])
            for index, primary in enumerate(self.primaries(look))
        ]

    async def standing_by(self, partition: Partition) -> list[str]:
        """The instances whose replicas of a partition have caught up, and wait to be its primary.

        Raises:
            StoreError: The store does not answer.
        """
        return await self.election(partition.index).waiting()

    async def session(self) -> str:
        """The session under which this instance tells of its replicas.

        Raises:
            StoreError: The store does not answer.
        """
        return await self._commons.session()

    async def tell(self, report: Report, session: str) -> None:
        """Tell of the replicas of this instance, for people; it is forgotten with the session.

        Raises:
            StoreError: The store does not answer.
        """
        key = join(f"{REPORTS}{self.name}", session)
        await self._commons.store.write(key, report.to_bytes(), expect=ANY, session=session)
