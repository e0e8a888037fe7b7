"""Where one instance lives: what its keeper and its worker both know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locum.testing.simulation.machine import Machine
    from locum.testing.simulation.world import World

__all__ = ["Home"]


class Home:
    """One instance's place in its world.

    Args:
        world: Where it lives.
        machine: Its machine, which has its name.
        ttl: Its TTL in nanoseconds.
    """

    def __init__(self, world: World, machine: Machine, ttl: int) -> None:
        self.world, self.machine, self.ttl = world, machine, ttl
        self.name = machine.name
        self._pids = 0

    def pid(self) -> int:
        """A new pid."""
        self._pids += 10
        return self._pids
