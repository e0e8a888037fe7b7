"""A whole cluster: a world, and the instances in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import NANOSECONDS
from locum.testing.simulation.instance import Instance
from locum.testing.simulation.machine import LocalClock, Machine
from locum.testing.simulation.world import World

if TYPE_CHECKING:
    import random

    from locum.testing.simulation.divided import Divided
    from locum.testing.simulation.recipes import Recipes

__all__ = ["Cluster"]

_INSTANCES: Final = 3
_TTLS: Final = (3, 4, 5)
_SLOWEST, _FASTEST = 960_000, 1_040_000


class Cluster(World):
    """One run's cluster.

    Args:
        chance: The seed's.
        recipes: Whether its instances also take locks, write nodes and transfer the lead.
        shards: Whether they also divide a sharded service.
        trace: Whether to write down each event as it happens.
    """

    def __init__(
        self, chance: random.Random, *, recipes: bool = False, shards: bool = False, trace: bool = False
    ) -> None:
        super().__init__(chance, recipes=recipes, shards=shards, trace=trace)
        rates = [chance.choice((_SLOWEST, _FASTEST, chance.randrange(_SLOWEST, _FASTEST))) for _ in range(_INSTANCES)]
        ttls = [chance.choice(_TTLS)] * _INSTANCES if chance.random() < 0.7 else chance.choices(_TTLS, k=_INSTANCES)
        self.instances = [
            Instance(
                self,
                Machine(f"web-{number}", self.loop, LocalClock(self.loop, rate, chance.randrange(1, 1 << 50))),
                ttl * NANOSECONDS,
            )
            for number, (rate, ttl) in enumerate(zip(rates, ttls, strict=True), 1)
        ]
        for instance in self.instances:
            clock = instance.machine.clock
            self.history.note("machine", instance.name, rate=clock.rate, offset=clock.offset, ttl=instance.ttl)
        self.ttl = max(ttls) * NANOSECONDS
        """The longest TTL in nanoseconds."""

    @property
    def active(self) -> list[Instance]:
        """The instances in which a body runs."""
        return [instance for instance in self.instances if instance.active is not None]

    @property
    def recipes_alive(self) -> list[Recipes]:
        """What living workers do beside their service."""
        workers = [instance.worker for instance in self.instances]
        return [one.recipes for one in workers if one is not None and one.process.is_alive and one.recipes is not None]

    @property
    def divided_alive(self) -> list[Divided]:
        """What living workers have of the sharded service."""
        workers = [instance.worker for instance in self.instances]
        return [one.divided for one in workers if one is not None and one.process.is_alive and one.divided is not None]

    def victim(self) -> Instance:
        """Whom a fault strikes: more often one that is active."""
        active = self.active
        return self.chance.choice(active if active and self.chance.random() < 0.6 else self.instances)
