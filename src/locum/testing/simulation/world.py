"""A whole cluster: machines, the network, the store, the database, and the instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import NANOSECONDS
from locum.testing.simulation.history import History
from locum.testing.simulation.instance import NAMESPACE, Instance
from locum.testing.simulation.loop import VirtualLoop
from locum.testing.simulation.machine import LocalClock, Machine
from locum.testing.simulation.network import Line, Network, Weather
from locum.testing.simulation.servers import Database, WatchedServer, WatchedStore

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from locum.testing.simulation.loop import Process

__all__ = ["INSTANCES", "World"]

INSTANCES: Final = 3
_TTLS: Final = (3, 4, 5)
_SLOWEST, _FASTEST = 960_000, 1_040_000


class World:
    """One run's cluster.

    Args:
        chance: The seed's.
        trace: Whether to write down each event as it happens.
    """

    def __init__(self, chance: random.Random, *, trace: bool = False) -> None:
        self.chance = chance
        self.loop = VirtualLoop()
        self.history = History(self.loop, trace=trace)
        self.network = Network(self.loop, chance, self.history, Weather(usual=chance.choice((300_000, 3_000_000))))
        self.server = WatchedServer(clock=LocalClock(self.loop, 1_000_000, 0), history=self.history)
        self.database = Database(self.history)
        self.stubborn = self.failing = 0.0
        """Of all bodies: those that ignore their end for a while, and those that fail by themselves."""
        self.on_began: Callable[[Instance], object] = lambda instance: None
        """Called when a body begins."""
        self.errors: list[str] = []
        """What went wrong in the code itself."""
        rates = [chance.choice((_SLOWEST, _FASTEST, chance.randrange(_SLOWEST, _FASTEST))) for _ in range(INSTANCES)]
        ttls = [chance.choice(_TTLS)] * INSTANCES if chance.random() < 0.7 else chance.choices(_TTLS, k=INSTANCES)
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

    def connect(self, instance: Instance, process: Process, lines: list[Line]) -> WatchedStore:
        """A connection of a process to the store."""
        line = Line(self.network, self.loop, instance.machine, process)
        lines.append(line)
        return WatchedStore(
            instance.name,
            self.history,
            self.server,
            namespace=NAMESPACE,
            clock=instance.machine.clock,
            wire=line,
        )

    def unexpected(self, who: str, task: str, error: BaseException) -> None:
        """Something failed that never should."""
        self.errors.append(f"{who}: {task} failed: {error!r}")
        self.history.note("failed", who, task=task, error=type(error).__name__)

    @property
    def active(self) -> list[Instance]:
        """The instances in which a body runs."""
        return [instance for instance in self.instances if instance.active is not None]

    def victim(self) -> Instance:
        """Whom a fault strikes: more often one that is active."""
        active = self.active
        return self.chance.choice(active if active and self.chance.random() < 0.6 else self.instances)
