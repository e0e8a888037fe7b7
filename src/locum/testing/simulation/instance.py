"""One simulated instance: a keeper process and its worker process, as `locum run` has them.

What a process does is Locum's own code; what the operating system would do to it is done here: the pipe between the
two, the death of the one with the other, the news of a death.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum import exit_codes
from locum.clock import seconds
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.errors import StaleTermError, TermEndedError
from locum.host.restart import Restart, Restarts
from locum.identity import ProcessId
from locum.keeper.cell import Cell
from locum.keeper.control import Hello
from locum.keeper.keeping import Keeping
from locum.keeper.leases import Leases
from locum.keeper.link import KeeperLink
from locum.keeper.memory import Memory
from locum.keeper.owner import Ending, Owner
from locum.registry import open_when_there
from locum.scopes import Backoff, Scope, cancel_and_wait
from locum.services.active_passive import ActivePassiveRunner
from locum.telemetry import Events
from locum.testing.simulation.loop import Process
from locum.testing.simulation.machine import LocalAlarm, LocalKillTimer
from locum.testing.simulation.network import Line
from locum.testing.simulation.servers import DatabaseError, LocalFence
from locum.testing.simulation.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.clock import Clock
    from locum.coordination.term import Term
    from locum.keeper.lease import Lease
    from locum.keeper.session import Loss, Session
    from locum.service import Mode
    from locum.store import Seen
    from locum.telemetry import Event
    from locum.testing.simulation.machine import Machine
    from locum.testing.simulation.world import World

__all__ = ["BODY", "Instance"]

BODY = "work"
"""The name of the one service."""
_STOP_TIMEOUT = 3.0
_PIPE = 20_000  # ns that a message takes from process to process


class _Pipe:
    """One end of the pipe between keeper and worker."""

    def __init__(self, world: World, here: Process, there: Process, hear: Callable[[dict[str, Any]], object]) -> None:
        self._world, self._here, self._there, self._hear = world, here, there, hear

    def send(self, kind: str, **fields: Any) -> None:
        if self._here.is_alive and self._there.is_alive:
            loop = self._world.loop
            loop.at(loop.now + _PIPE, self._hear, {"kind": kind, **fields}, context=self._there.context)


class _Link(KeeperLink):
    """The worker's end, with a simulated pipe, cell and alarm below it."""

    def __init__(self, worker: _Worker, cell: Cell, *, scope: Scope, events: Events) -> None:
        machine, process = worker.home.machine, worker.process
        Leases.__init__(
            self,
            cell,
            clock=machine.clock,
            scope=scope,
            events=events,
            make_alarm=lambda callback: LocalAlarm(machine, process, callback),
        )
        self._armed: dict[int, asyncio.Future[bool]] = {}
        self._handles = 0
        self._control = worker.pipe  # type: ignore[assignment]
        worker.hear = self._on_message

    async def open(self, hello: Hello) -> Lease:
        """Say hello and wait at the start gate."""
        self._control.send("hello", hello=hello)
        return await self.lease()

    def _stay_tied(self) -> None:
        pass  # the simulated kernel ends the worker with its keeper, whatever happens


class _Worker:
    """The worker process: the surroundings of one active-passive service."""

    def __init__(self, instance: Instance, life: _Life) -> None:
        self.home, self.world = instance, instance.world
        self.process = Process(f"{instance.name}.worker", self.world.loop)
        self.code = exit_codes.CLEAN
        self.hear: Callable[[dict[str, Any]], object] = lambda message: None
        self.pipe = _Pipe(self.world, self.process, life.keeper, life.hear)
        self._life = life
        self._asked = asyncio.Event()
        self._body: dict[str, Any] | None = None
        self.lines: list[Line] = []
        self.process.ends.append(self._dies)

    def start(self) -> None:
        """Begin to live."""
        self._scope = Scope("worker", on_error=self._on_error)
        self._scope.spawn(self._run(), name="run")

    def stop(self) -> None:
        """Be asked to stop, by a signal."""
        self.process.begin(self._asked.set)

    @property
    def active(self) -> int | None:
        """The token of the body that runs."""
        return None if self._body is None else self._body["token"]

    async def _run(self) -> None:
        machine, world, name = self.home.machine, self.world, self.home.name
        await machine.clock.sleep(world.chance.uniform(0.05, 0.4))
        events = Events(name, lambda coroutine, what: self._scope.spawn(coroutine, name=what))
        link = _Link(self, self._life.cell, scope=self._scope, events=events)
        hello = Hello(
            instance=name,
            store="memory://simulated",
            namespace=NAMESPACE,
            ttl=self.home.ttl,
            stop_timeout=_STOP_TIMEOUT,
            hang_timeout=30.0,
        )
        lease = await link.open(hello)
        store = world.connect(machine, self.process, self.lines)
        store.call_timeout, store.seen = lease.budget.call_seconds, link.seen
        await open_when_there(store, clock=machine.clock, told=lambda why: None)
        line = Line(world.network, world.loop, machine, self.process, to_store=False)
        self._fence = LocalFence(world.database, line, name)
        coordinator = Coordinator(Commons(store, link, events=events, fences=lambda: [self._fence]))
        await coordinator.open()
        runner = ActivePassiveRunner(
            BODY,
            self._work,
            None,
            None,
            election=coordinator.election(BODY),
            surroundings=self,
            restarts=Restarts(BODY, Restart(), clock=machine.clock),
            stop_timeout=_STOP_TIMEOUT,
        )
        await runner.start()
        link.started()
        await self._asked.wait()
        await runner.stop("was stopped")
        await runner.close()
        await coordinator.close(patience=lease.budget.call_seconds)
        await store.close()
        self.process.kill()

    # -- the body

    async def _work(self, term: Term) -> None:
        world, chance = self.world, self.world.chance
        body = self._body = {"token": term.token, "session": term.lease.session}
        world.history.note("began", self.home.name, **body, local=self.clock.now())
        world.on_began(self.home.name)
        stubborn_for = chance.uniform(0.0, 1.2) * seconds(self.home.ttl) if chance.random() < world.stubborn else 0
        fails = chance.random() < world.failing
        try:
            await self._labour(term, chance.randrange(40) if fails else None)
        except asyncio.CancelledError:
            await self._ignore(term, stubborn_for)
            raise
        else:
            await self._ignore(term, stubborn_for)
        finally:
            self._ends("ended")

    async def _labour(self, term: Term, turns: int | None) -> None:
        read = False
        async for turn in term.every(seconds(self.home.ttl) / 12):
            if turns is not None and turn >= turns:
                raise DatabaseError("a simulated mistake of the body")
            try:
                async with asyncio.timeout(0.5):
                    if not read:
                        await self._fence.read(term.token)
                        read = True
                    async with term.transaction(self._fence) as connection:
                        connection.insert(term.token)
            except (TimeoutError, DatabaseError):
                continue

    async def _ignore(self, term: Term, duration: float) -> None:
        """Go on for a while, though cancelled, and try to write with what is still in its hands."""
        clock = self.clock
        until = clock.now() + round(duration * 1e9)
        while clock.now() < until:
            try:
                async with asyncio.timeout(0.5), self._fence.transaction() as connection:
                    await self._fence.check(connection, f"{NAMESPACE}/{term.scope}", term.token)
                    connection.insert(term.token)
                await clock.sleep(0.1)
            except (TimeoutError, DatabaseError, StaleTermError, TermEndedError, asyncio.CancelledError):
                await clock.sleep(0.1)

    def _ends(self, how: str) -> None:
        body, self._body = self._body, None
        if body is None or (how == "ended" and not self.process.is_alive):
            return
        machine, loop = self.home.machine, self.world.loop
        # a suspended machine runs no line: what it had was over, as far as anybody can tell, when it was suspended
        at = loop.now if machine.suspended_at is None else machine.suspended_at
        local = machine.clock.offset + at * machine.clock.rate // 1_000_000
        self.world.history.note("finished", self.home.name, **body, how=how, since=at, local=local)

    def _dies(self) -> None:
        self._ends("killed")

    # -- what a service asks of its host

    @property
    def instance(self) -> str:
        """The instance's name."""
        return self.home.name

    @property
    def clock(self) -> Clock:
        """The machine's clock."""
        return self.home.machine.clock

    def tell(self, event: Event) -> None:
        """An event."""
        self.world.history.remark(self.home.name, str(event))

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """A mode."""

    def over(self, service: str, error: BaseException | None) -> None:
        """It failed too often: its host ends, and its keeper starts a worker anew."""
        self.fail(f"{service} is over: {error}", exit_codes.SERVICE_FAILED)

    def fail(self, why: str, code: int) -> None:
        """End this process."""
        self.world.history.remark(self.home.name, f"ends its worker: {why}")
        self.code = code
        self.process.kill()

    async def call(self, function: Callable[..., Any], *given: object) -> object:
        """Call a body."""
        return await function(*given)

    @asynccontextmanager
    async def one_run(self) -> AsyncIterator[Callable[..., Any]]:
        """A run, in which bodies are called as ever."""
        yield self.call

    def _on_error(self, task: str, error: BaseException) -> None:
        self.world.unexpected(self.home.name, task, error)
        self.process.kill()


class _Life:
    """One life of one worker, in the keeper process: what `locum.keeper.life` does, on a simulated kernel."""

    def __init__(self, instance: Instance, keeper: Process, timer: LocalKillTimer, memory: Memory) -> None:
        self._instance, self._timer, self._memory = instance, timer, memory
        self.keeper = keeper
        self._world, self._clock = instance.world, instance.machine.clock
        self.cell = Cell()
        self._keeping: Keeping | None = None
        self._why = ""
        self._hello: asyncio.Future[Hello] = self._world.loop.create_future()
        self._ended = asyncio.Event()

    async def run(self, store: Any) -> int:
        """From the start of the worker to the close of its session; its exit code."""
        worker = self.worker = _Worker(self._instance, self)
        self._pipe = _Pipe(self._world, self.keeper, worker.process, lambda message: worker.hear(message))
        worker.process.ends.append(self._on_death)
        self._instance.take_in(worker)
        worker.process.begin(worker.start)
        try:
            async with Scope("life of a worker", on_error=self._on_error) as scope:
                work = scope.spawn(self._work(store), name="work")
                await self._ended.wait()
                await cancel_and_wait(work)
        finally:
            self.cell.end()
            if self._keeping is not None:
                self._keeping.disarm_all()
                self._keeping.close()
                if self._keeping.session is not None:
                    ending = Ending(self._why or "died", self._clock.now(), str(self._instance.machine.key))
                    await self._keeping.session.close(ending)
        return worker.code

    async def _work(self, store: Any) -> None:
        hello = await self._hello
        machine, process = self._instance.machine, self.keeper
        pid = self._instance.pid()
        owner = Owner(hello.instance, machine.name, machine.key, keeper=ProcessId(pid, 1), worker=ProcessId(pid + 1, 1))
        self._keeping = Keeping(
            self,
            hello.instance,
            cell=self.cell,
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
        self._world.history.remark(self._instance.name, f"kills its worker: {why}")
        self.worker.process.kill()

    def _on_death(self) -> None:
        self.keeper.begin(self._ended.set)  # its pidfd fires

    def _on_error(self, task: str, error: BaseException) -> None:
        self._world.unexpected(self._instance.name, task, error)
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
        self._world.history.remark(self._instance.name, why)
        self._pipe.send("lost", why=why)

    def joined(self, owner: Owner) -> None:
        """Another instance is there."""
        self._pipe.send("joined", name=owner.name, machine=owner.machine)

    def gone(self, owner: Owner, why: str) -> None:
        """Another instance is gone."""
        self._pipe.send("gone", name=owner.name, why=why)


class Instance:
    """One instance on a machine of its own, started again whenever its keeper dies.

    Args:
        world: Where it lives.
        machine: Its machine.
        ttl: Its TTL in nanoseconds.
    """

    def __init__(self, world: World, machine: Machine, ttl: int) -> None:
        self.world, self.machine, self.ttl = world, machine, ttl
        self.name = machine.name
        self.keeper: Process | None = None
        self.worker: _Worker | None = None
        self.lines: list[Line] = []
        self._pids = 0

    def pid(self) -> int:
        """A new pid."""
        self._pids += 10
        return self._pids

    def start(self) -> None:
        """Start a keeper."""
        if self.keeper is not None and self.keeper.is_alive:
            return
        self.keeper = Process(f"{self.name}.keeper", self.world.loop)
        self.lines = []
        self._settle(self.keeper)
        self.world.history.note("started", self.name)
        self.keeper.begin(self._begin)

    def take_in(self, worker: _Worker) -> None:
        """A worker was started."""
        self.worker = worker
        self._settle(worker.process)

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
            await _Life(self, keeper, timer, memory).run(store)
            if clock.now() - begun > 10_000_000_000:
                backoff.reset()
            await clock.sleep(backoff.delay())

    def _timer_strikes(self) -> None:
        self.world.history.note("shot", self.name)
        self.kill()

    def _on_error(self, task: str, error: BaseException) -> None:
        self.world.unexpected(self.name, task, error)
        self.kill()
