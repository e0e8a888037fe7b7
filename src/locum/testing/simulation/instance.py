"""One simulated instance: a keeper process and its worker process, as `locum run` has them.

What a process does is Locum's own code; what the operating system would do to it is done here and in the rooms beside
this one: the pipe between the two, the death of the one with the other, the news of a death.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.keeper.memory import Memory
from locum.registry import open_when_there
from locum.scopes import Backoff, Scope
from locum.testing.simulation.home import Home
from locum.testing.simulation.life import Life
from locum.testing.simulation.loop import Process
from locum.testing.simulation.machine import LocalKillTimer

if TYPE_CHECKING:
    from locum.testing.simulation.machine import Machine
    from locum.testing.simulation.network import Line
    from locum.testing.simulation.worker import Worker
    from locum.testing.simulation.world import World

__all__ = ["Instance"]


class Instance(Home):
    """One instance on a machine of its own, started again whenever its keeper dies.

    Args:
        world: Where it lives.
        machine: Its machine.
        ttl: Its TTL in nanoseconds.
    """

    def __init__(self, world: World, machine: Machine, ttl: int) -> None:
        super().__init__(world, machine, ttl)
        self.keeper: Process | None = None
        self.worker: Worker | None = None
        self.lines: list[Line] = []

    def start(self) -> None:
        """Start a keeper."""
        if self.keeper is not None and self.keeper.is_alive:
            return
        self.keeper = Process(f"{self.name}.keeper", self.world.loop)
        self.lines = []
        self._settle(self.keeper)
        self.world.history.note("started", self.name)
        self.keeper.begin(self._begin)

    def kill(self) -> None:
        """End the keeper, and its worker with it."""
        if self.keeper is not None:
            self.keeper.kill()
        if self.worker is not None:
            self.worker.process.kill()

    @property
    def active(self) -> int | None:
        """The token of the body that runs here."""
        worker = self.worker
        return worker.active if worker is not None and worker.process.is_alive else None

    def _settle(self, process: Process) -> None:
        self.machine.processes = [one for one in self.machine.processes if one.is_alive] + [process]
        if self.machine.suspended_at is not None:
            process.freeze(stopped=False)

    def _begin(self) -> None:
        self._scope = Scope("keeper", on_error=self._on_error)
        self._scope.spawn(self._lives(), name="lives")

    async def _lives(self) -> None:
        keeper, clock = self.keeper, self.machine.clock
        if keeper is None:
            return
        timer = LocalKillTimer(self.machine, keeper, self._timer_strikes)
        memory, backoff = Memory(), Backoff(0.1, 5.0)
        store = self.world.connect(self.machine, keeper, self.lines)
        store.call_timeout = seconds(self.ttl) / 6
        await open_when_there(store, clock=clock, told=lambda why: None)
        while True:
            begun = clock.now()
            life = Life(self, keeper, timer, memory)
            self.worker = life.worker
            self._settle(life.worker.process)
            await life.run(store)
            if clock.now() - begun > 10_000_000_000:
                backoff.reset()
            await clock.sleep(backoff.delay())

    def _timer_strikes(self) -> None:
        self.world.history.note("shot", self.name)
        self.kill()

    def _on_error(self, task: str, error: BaseException) -> None:
        self.world.unexpected(self.name, task, error)
        self.kill()
