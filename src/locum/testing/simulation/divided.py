"""What instances of some runs divide among themselves: a sharded service, under the same faults as the other one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.coordination.shards import Sharding
from locum.host.restart import Restart, Restarts
from locum.services.sharded import Resting, ShardedRunner
from locum.testing.simulation.servers import DatabaseError
from locum.testing.simulation.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.coordination.coordinator import Coordinator
    from locum.coordination.shard import Shard
    from locum.service import Surroundings
    from locum.testing.simulation.home import Home
    from locum.testing.simulation.loop import Process
    from locum.testing.simulation.servers import LocalFence

__all__ = ["ORDERS", "SHARDS", "Divided", "undivided"]

ORDERS: Final = "orders"
"""The name of the sharded service."""

SHARDS: Final = 5
"""How many there are."""


class Divided:
    """One worker's part in it.

    Args:
        home: Where its instance lives.
        process: Its process.
        fence: The database of the bodies.
        coordinator: Its coordinator.
        surroundings: Its host.
    """

    def __init__(
        self, home: Home, process: Process, fence: LocalFence, coordinator: Coordinator, surroundings: Surroundings
    ) -> None:
        self._home, self._world, self._process, self._fence = home, home.world, process, fence
        self._clock = surroundings.clock
        self._bodies: list[dict[str, Any]] = []
        self._runner = ShardedRunner(
            ORDERS,
            self._work,
            None,
            shards=coordinator.shards(ORDERS, Sharding(of=SHARDS, join_delay=0.5)),
            resting=Resting(first=0.1, last=1.0, most=1_000_000),
            surroundings=surroundings,
            restarts=Restarts(ORDERS, Restart(), clock=self._clock),
            stop_timeout=3.0,
        )
        self.start, self.close = self._runner.start, self._runner.close
        process.ends.append(self._dies)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._home.name

    @property
    def works_on(self) -> list[int]:
        """The shards in which a body runs."""
        return [body["index"] for body in self._bodies]

    async def stop(self) -> None:
        """End all of it."""
        await self._runner.stop("was stopped")

    async def _work(self, shard: Shard) -> None:
        world, chance = self._world, self._world.chance
        body = {"scope": shard.scope, "token": shard.token, "session": shard.lease.session}
        held = {**body, "index": shard.index}
        self._bodies.append(held)
        world.history.note("began", self.name, **body, local=self._clock.now())
        fails = chance.random() < world.failing
        is_stubborn = chance.random() < world.stubborn
        try:
            async for turn in shard.every(seconds(self._home.ttl) / 4):
                if fails and turn > 3:
                    raise DatabaseError("a simulated mistake of the body")
                await self._write(shard, turn)
        except asyncio.CancelledError:
            if is_stubborn:  # it goes on, though cancelled
                await self._clock.sleep(chance.uniform(0.0, 1.2) * seconds(self._home.ttl))
            raise
        finally:
            self._ends(held, "ended")

    async def _write(self, shard: Shard, turn: int) -> None:
        try:
            async with asyncio.timeout(0.5), shard.transaction(self._fence) as connection:
                connection.insert(f"{NAMESPACE}/{shard.scope}", shard.token)
            if turn % 4 == 0:
                await shard.checkpoint((shard.position or 0) + 1)
        except (TimeoutError, DatabaseError):
            pass

    def _ends(self, held: dict[str, Any], how: str) -> None:
        if held not in self._bodies or (how == "ended" and not self._process.is_alive):
            return
        self._bodies.remove(held)
        at, local = self._home.last_line()
        body = {name: held[name] for name in ("scope", "token", "session")}
        self._world.history.note("finished", self.name, **body, how=how, since=at, local=local)

    def _dies(self) -> None:
        for held in list(self._bodies):
            self._ends(held, "killed")


def undivided(parts: Iterable[Divided]) -> list[str]:
    """What is not as it should be when all is whole: each shard has one body, and the shares are within one."""
    shares = {part.name: part.works_on for part in parts}
    found = sorted(index for share in shares.values() for index in share)
    counts = [len(share) for share in shares.values()] or [0]
    if found != list(range(SHARDS)) or max(counts) - min(counts) > 1:
        return [f"the shards are not divided: {shares}"]
    return []
