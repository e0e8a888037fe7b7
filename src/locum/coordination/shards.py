"""Shards: many parts of one work, each with one owner, spread over all instances and moved no more than needed.

An elected computer publishes a plan, an instance for each shard. Whose shard it is decides the shard's grant alone,
which only its owner, or its owner's death, releases; so a wrong, an old or no plan costs balance, and nothing else.
While nothing moves nothing is written, however many shards there are.

Promises: never two owners of one shard; the shares of those that are there are within one of the ideal, with the fewest
moves; a shard that nobody plans is taken by somebody who is there.
Assumes: what the writes of a shard change is fenced by its token.
On loss: with the session all shards of an instance are gone; it takes part again under the next one.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from locum.clock import nanoseconds, seconds
from locum.coordination.assignment import Attendance, assign, check_shards
from locum.coordination.contest import Wishes
from locum.coordination.grant import Grant
from locum.coordination.known import readable
from locum.coordination.lock import Lock
from locum.coordination.nodes import Node, prefix_of
from locum.coordination.plan import Look, Participant, Plan, Wishing, plan_key
from locum.coordination.presence import Presence
from locum.coordination.shard import ShardContest, shards_prefix
from locum.errors import (
    ConfigurationError,
    ConflictError,
    CoordinationError,
    CorruptRecordError,
    StoreError,
    StoreReplacedError,
)
from locum.names import join
from locum.scopes import Scope, cancel_and_wait, happens
from locum.store import ABSENT, ANY
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from locum.coordination.commons import Commons
    from locum.store import Record

__all__ = ["Participation", "Sharding", "Shards", "report_prefix"]

_log = logger("coordination.shards")
_ROOM: Final = 0.025  # s from one look to the next: of many changes at once each would bring one
_AFTER_AN_ERROR: Final = 0.5


def report_prefix(name: str) -> str:
    """The prefix of what instances tell, for people, of the shards that they have."""
    return f"shard-report/{name}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """How a service is sharded.

    Attributes:
        of: How many shards there are; for good, since a key's shard depends on it.
        capacity: What this instance takes, in proportion to the others.
        join_delay: Seconds for which an instance that joins must have been there before shards move to it, so that many
            that come together are one change.
        rebalance_delay: Seconds for which the shards of an instance that went wait for its name to come back: for
            rolling restarts of instances with stable names. 0 gives them to others at once.

    Raises:
        ConfigurationError: It cannot be so.
    """

    of: int = 64
    capacity: float = 1.0
    join_delay: float = 1.0
    rebalance_delay: float = 0.0

    def __post_init__(self) -> None:
        """See that it can be."""
        check_shards(self.of)
        if not 0 < self.capacity < float("inf"):
            raise ConfigurationError(f"capacity={self.capacity!r} cannot be: it is a number above 0")
        for name in ("join_delay", "rebalance_delay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name}={getattr(self, name)!r} cannot be: it is 0 or more seconds")


class Shards:
    """The shards of one service.

    Args:
        commons: Whose session an instance takes part under.
        name: The service's name.
        sharding: How it is sharded.

    Attributes:
        kind: What it is divided into: the first part of the keys.
    """

    kind: ClassVar[str] = "shard"

    def __init__(self, commons: Commons, name: str, sharding: Sharding) -> None:
        self.name, self.sharding = name, sharding
        self._commons = commons
        self._folder = join(f"{self.kind}s", name)
        self._plan_key, self._grants = plan_key(name, kind=self.kind), shards_prefix(name, kind=self.kind)

    def contest(self, index: int) -> ShardContest:
        """The contest for one shard."""
        return ShardContest(self._commons, self.name, index, self.sharding.of)

    @asynccontextmanager
    async def taking_part(self) -> AsyncIterator[Participation]:
        """Take part for the length of the block: others see it, and it may be the one that computes."""
        me = Participant(self._commons.instance, self.sharding.capacity)
        presence = Presence(self._commons, self._folder, me.to_bytes())
        computer = Lock(self._commons, self.name, Wishes(stop_timeout=5.0), kind=f"{self.kind}s")
        ttl = (await self._commons.leases.lease()).budget.ttl
        async with presence.kept():
            part = Participation(self, self._commons, presence, me, computer, patience=2 * ttl)
            computing = self._commons.spawn(part.compute(), f"computer of {self.name}")
            try:
                yield part
            finally:
                await cancel_and_wait(computing)

    async def look(self) -> Look:
        """What the store says at this moment.

        Raises:
            StoreError: It does not answer.
        """
        store, prefix = self._commons.store, self._grants
        nodes = (await store.list(prefix_of(self._folder))).records
        plan = Plan.of(await store.read(self._plan_key), shards=self.sharding.of)
        grants = (await store.list(prefix)).records
        here = {one.instance: one for one in readable(map(Node.of, nodes), Participant.of)}
        return Look(plan, dict(readable(grants, lambda record: _indexed(record, prefix))), here)

    def owners(self, look: Look, there: Mapping[str, float]) -> tuple[str | None, ...]:
        """Which instance each shard is to have.

        Args:
            look: What the store said.
            there: The instances that count, with their capacities.
        """
        return tuple(assign(look.before(there, self.sharding.of), there))

    async def publish(self, plan: Plan) -> None:
        """Publish a plan in the place of the one that it was made from, unless there is another one by now.

        Raises:
            ConflictError: There is.
            StoreError: The store does not answer.
        """
        expect = plan.revision or ABSENT
        await self._commons.store.write(self._plan_key, plan.to_bytes(), expect=expect)

    async def report(self, lags: Mapping[int, float]) -> None:
        """Tell how far the shards of this instance are behind, for people; it is forgotten with the session."""
        lease = await self._commons.leases.lease()
        await self._commons.meet(lease)
        value = json.dumps({"instance": self._commons.instance, "lags": {str(one): lag for one, lag in lags.items()}})
        key = report_prefix(self.name) + lease.session
        await self._commons.store.write(key, value.encode(), expect=ANY, session=lease.session)

    @property
    def watched(self) -> tuple[str, ...]:
        """The prefixes of all that a look reads."""
        return (self._grants, self._plan_key, prefix_of(self._folder))


class Participation:
    """One's own part in a sharded service, while its block runs.

    Args:
        shards: In what.
        commons: Whose session it goes on under.
        presence: Stands for it.
        me: What is said at first.
        computer: Decides who computes.
        patience: Nanoseconds for which a shard that is planned for nobody who is there is left to whoever computes.
    """

    def __init__(
        self, shards: Shards, commons: Commons, presence: Presence, me: Participant, computer: Lock, *, patience: int
    ) -> None:
        self._shards, self._commons = shards, commons
        self._presence, self._me, self._lock = presence, me, computer
        self._again = asyncio.Event()
        self._is_computer = False
        self._attendance = self._fresh()
        sharding = shards.sharding
        self.wishing = Wishing(me.instance, sharding.of, patience=nanoseconds(sharding.rebalance_delay) + patience)

    def look_again(self) -> None:
        """Look at once, although nothing in the store has changed."""
        self._again.set()

    async def leave(self) -> None:
        """Say that this instance is about to go: it gets nothing more, and others may plan for what it has."""
        self._me = replace(self._me, leaving=True)
        await self._presence.say(self._me.to_bytes())
        self.look_again()

    async def compute(self) -> None:
        """Be the one that computes whenever it is our turn."""
        while True:
            try:
                async with self._lock.hold():
                    self._attendance, self._is_computer = self._fresh(), True
                    self.look_again()
                    await asyncio.get_running_loop().create_future()  # until it is lost, or whoever waits gives up
            except CoordinationError as error:
                _log.debug("%s computes the plan of %s no more: %s", self._me.instance, self._shards.name, error)
            finally:
                self._is_computer = False

    async def looks(self, heed: Callable[[Look], float | None]) -> None:
        """Look at once, and again with each change, for ever; who computes publishes a plan where it is wanted.

        Args:
            heed: Told of each look; seconds after which to look again even if nothing changes, if it says so.
        """
        while True:
            store, watched = self._commons.store, self._shards.watched
            async with store.changes(watched) as changes, Scope(f"changes of {self._shards.name}") as scope:
                scope.spawn(self._hear(changes), name="hear")
                await self._until_replaced(heed)
            # listen anew in the store that is there now, once that is accepted: under the next session, and not before
            await self._commons.clock.sleep(_AFTER_AN_ERROR)
            try:
                await self._commons.session()
            except StoreError as error:
                _log.debug("%s cannot be looked at: %s", self._shards.name, error)

    async def _hear(self, changes: AsyncIterator[object]) -> None:
        async for _ in changes:
            self._again.set()

    async def _until_replaced(self, heed: Callable[[Look], float | None]) -> None:
        """Look again and again, until the store is another one."""
        while True:
            self._again.clear()
            try:
                look = await self._shards.look()
                waits = [await self._plan(look), self._commons.store.guarantees().poll_interval]
                if waits[0] != 0.0:  # a plan that has just been replaced is nothing to heed
                    waits.append(heed(look))
            except StoreReplacedError:
                return
            except StoreError as error:
                _log.debug("%s cannot be looked at: %s", self._shards.name, error)
                waits = [_AFTER_AN_ERROR]
            await self._commons.clock.sleep(_ROOM)
            await happens(self._again.wait(), within=min(wait for wait in waits if wait is not None))

    def _fresh(self) -> Attendance:
        sharding = self._shards.sharding
        return Attendance(nanoseconds(sharding.join_delay), nanoseconds(sharding.rebalance_delay))

    async def _plan(self, look: Look) -> float | None:
        """Publish another plan, if this one computes and it is wanted; seconds until it may be wanted by itself."""
        if not self._is_computer:
            return None
        now = self._commons.clock.now()
        plan = look.plan
        # who has shards is no newcomer, though the plan may have forgotten it
        there, wait = self._attendance.counted(look.staying, {**plan.capacities, **look.forgotten}, now)
        if there:
            owners = self._shards.owners(look, there)
            wanted = Plan(plan.epoch + 1, owners, there, self._me.instance, plan.revision)
            if (owners, dict(there)) != (plan.owners, dict(plan.capacities)):
                try:
                    await self._shards.publish(wanted)
                except ConflictError as error:
                    _log.debug("the plan of %s was another one by then: %s", self._shards.name, error)
                return 0.0
        return None if wait is None else seconds(wait)


def _indexed(record: Record, prefix: str) -> tuple[int, Grant]:
    index = record.key.removeprefix(prefix)
    if not index.isdecimal():
        raise CorruptRecordError(record.key, "it is no shard's")
    return int(index), Grant.of(record)
