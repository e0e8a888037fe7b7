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

    def last_line(self) -> tuple[int, int]:
        """When the last line of code was over that could run here by now: in true time, and on the machine's clock.

        A suspended machine runs none: what it had was over, as far as anybody can tell, when it was suspended.
        """
        machine = self.machine
        at = self.world.loop.now if machine.suspended_at is None else machine.suspended_at
        return at, machine.clock.offset + at * machine.clock.rate // 1_000_000

    def pid(self) -> int:
        """A new pid."""
        self._pids += 10
        return self._pids
