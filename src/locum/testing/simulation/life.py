"""One life of a simulated worker, in the keeper process: what `locum.keeper.life` does, on a simulated kernel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from locum.identity import ProcessId
from locum.keeper.cell import Cell
from locum.keeper.keeping import Keeping
from locum.keeper.owner import Ending, Owner
from locum.scopes import Scope, cancel_and_wait
from locum.testing.simulation.machine import LocalAlarm
from locum.testing.simulation.pipe import Pipe
from locum.testing.simulation.worker import Worker

if TYPE_CHECKING:
    from locum.keeper.control import Hello
    from locum.keeper.memory import Memory
    from locum.keeper.session import Loss, Session
    from locum.store import Seen
    from locum.testing.simulation.home import Home
    from locum.testing.simulation.loop import Process
    from locum.testing.simulation.machine import LocalKillTimer

__all__ = ["Life"]


class Life:
    """One life of one worker, as its keeper has it.

    Args:
        home: Where the instance lives.
        keeper: The keeper's process.
        timer: The keeper's own kernel timer.
        memory: What this keeper remembers from life to life.
    """

    def __init__(self, home: Home, keeper: Process, timer: LocalKillTimer, memory: Memory) -> None:
        self._home, self._keeper, self._timer, self._memory = home, keeper, timer, memory
        self._world, self._clock = home.world, home.machine.clock
        self._cell = Cell()
        self.worker = Worker(home, keeper, self.hear, self._cell)
        self._keeping: Keeping | None = None
        self._why = ""
        self._hello: asyncio.Future[Hello] = self._world.loop.create_future()
        self._ended = asyncio.Event()

    async def run(self, store: Any) -> int:
        """From the start of the worker to the close of its session; its exit code."""
        worker = self.worker
        self._pipe = Pipe(self._world, self._keeper, worker.process, lambda message: worker.hear(message))
        worker.process.ends.append(self._on_death)
        worker.process.begin(worker.start)
        try:
            async with Scope("life of a worker", on_error=self._on_error) as scope:
                work = scope.spawn(self._work(store), name="work")
                await self._ended.wait()
                await cancel_and_wait(work)
        finally:
            self._cell.end()
            if self._keeping is not None:
                self._keeping.disarm_all()
                self._keeping.close()
                if self._keeping.session is not None:
                    ending = Ending(self._why or "died", self._clock.now(), str(self._home.machine.key))
                    await self._keeping.session.close(ending)
        return worker.code

    async def _work(self, store: Any) -> None:
        hello = await self._hello
        machine, process = self._home.machine, self._keeper
        pid = self._home.pid()
        owner = Owner(hello.instance, machine.name, machine.key, keeper=ProcessId(pid, 1), worker=ProcessId(pid + 1, 1))
        self._keeping = Keeping(
            self,
            hello.instance,
            cell=self._cell,
            clock=self._clock,
            timer=self._timer,
            memory=self._memory,
            make_alarm=lambda callback: LocalAlarm(machine, process, callback),
        )
        await self._keeping.keep(store, owner, hello.ttl)

    def hear(self, message: dict[str, Any]) -> None:
        """A message of the worker."""
        match message["kind"]:
            case "hello":
                self._hello.set_result(message["hello"])
            case "arm":
                keeping, handle = self._keeping, message["handle"]
                ok = keeping is not None and keeping.arm(handle, message["generation"], message["token"])
                self._pipe.send("armed", handle=handle, ok=ok)
            case "disarm":
                if self._keeping is not None:
                    self._keeping.disarm(message["handle"])
            case "give_up":
                self._kill(message["why"])

    def _kill(self, why: str) -> None:
        self._why = self._why or why
        self._world.history.remark(self._home.name, f"kills its worker: {why}")
        self.worker.process.kill()

    def _on_death(self) -> None:
        self._keeper.begin(self._ended.set)  # its pidfd fires

    def _on_error(self, task: str, error: BaseException) -> None:
        self._world.unexpected(self._home.name, task, error)
        self._kill(f"failed in its keeper: {error!r}")

    # -- the charge

    def may_beat(self) -> bool:
        """Whether the worker is alive and not stopped."""
        return self.worker.process.is_alive and not self.worker.process.is_stopped

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        """A session is there."""
        budget = session.budget
        self._pipe.send(
            "open",
            session=session.id,
            generation=generation,
            ttl=budget.ttl,
            beat=budget.beat,
            call=budget.call,
            owner=session.owner.to_bytes().decode(),
            seen=[seen.incarnation, seen.revision],
        )

    def beaten(self) -> None:
        """A beat was answered."""

    def overdue(self) -> None:
        """A body still runs at 80 % of the TTL."""
        self._kill("a body still ran at 80 % of the TTL")

    async def end_bodies(self, loss: Loss) -> None:
        """Kill the worker."""
        self._kill(f"it lost its session: {loss.why}")
        await self._ended.wait()

    def lost(self, why: str) -> None:
        """The session is lost."""
        self._world.history.remark(self._home.name, why)
        self._pipe.send("lost", why=why)

    def joined(self, owner: Owner) -> None:
        """Another instance is there."""
        self._pipe.send("joined", name=owner.name, machine=owner.machine)

    def gone(self, owner: Owner, why: str) -> None:
        """Another instance is gone."""
        self._pipe.send("gone", name=owner.name, why=why)
