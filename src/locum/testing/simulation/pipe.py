"""The pipe between a keeper and its worker, as the simulated kernel carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.testing.simulation.loop import Process
    from locum.testing.simulation.world import World

__all__ = ["Pipe"]

_TAKES: Final = 20_000  # ns from process to process


class Pipe:
    """One end of the pipe.

    Args:
        world: Where both are.
        here: Who sends.
        there: Who hears, if it lives by then.
        hear: What it does with a message.
    """

    def __init__(self, world: World, here: Process, there: Process, hear: Callable[[dict[str, Any]], object]) -> None:
        self._world, self._here, self._there, self._hear = world, here, there, hear

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message, which is lost if either is dead."""
        if self._here.is_alive and self._there.is_alive:
            loop = self._world.loop
            loop.at(loop.now + _TAKES, self._hear, {"kind": kind, **fields}, context=self._there.context)
