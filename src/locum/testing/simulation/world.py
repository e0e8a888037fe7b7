"""What all instances of a run share: time, chance, the network, the servers, and the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.testing.simulation.history import History
from locum.testing.simulation.loop import VirtualLoop
from locum.testing.simulation.machine import LocalClock
from locum.testing.simulation.network import Line, Network, Weather
from locum.testing.simulation.servers import Database, WatchedServer, WatchedStore

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from locum.testing.simulation.loop import Process
    from locum.testing.simulation.machine import Machine

__all__ = ["BODY", "NAMESPACE", "SCOPE", "World"]

NAMESPACE: Final = "simulated"

BODY: Final = "work"
"""The name of the one service."""

SCOPE: Final = f"election/{BODY}"
"""Its scope."""


class World:
    """One run's world.

    Args:
        chance: The seed's.
        recipes: Whether its instances also take locks, write nodes and transfer the lead.
        shards: Whether they also divide a sharded service.
        trace: Whether to write down each event as it happens.
    """

    def __init__(
        self, chance: random.Random, *, recipes: bool = False, shards: bool = False, trace: bool = False
    ) -> None:
        self.chance = chance
        self.loop = VirtualLoop()
        self.history = History(self.loop, trace=trace)
        self.network = Network(self.loop, chance, self.history, Weather(usual=chance.choice((300_000, 3_000_000))))
        self.server = WatchedServer(clock=LocalClock(self.loop, 1_000_000, 0), history=self.history)
        self.database = Database(self.history)
        self.recipes = recipes
        """Whether instances also take locks, write nodes and transfer the lead; until all is healed."""
        self.shards = shards
        """Whether instances also divide a sharded service."""
        self.stubborn = self.failing = 0.0
        """Of all bodies: those that ignore their end for a while, and those that fail by themselves."""
        self.on_began: Callable[[str], object] = lambda instance: None
        """Called with the name of an instance in which a body begins."""
        self.errors: list[str] = []
        """What went wrong in the code itself."""

    def connect(self, machine: Machine, process: Process, lines: list[Line]) -> WatchedStore:
        """A connection of a process to the store."""
        line = Line(self.network, self.loop, machine, process)
        lines.append(line)
        return WatchedStore(
            machine.name,
            self.history,
            self.server,
            namespace=NAMESPACE,
            clock=machine.clock,
            wire=line,
        )

    def unexpected(self, who: str, task: str, error: BaseException) -> None:
        """Something failed that never should."""
        self.errors.append(f"{who}: {task} failed: {error!r}")
        self.history.note("failed", who, task=task, error=type(error).__name__)
