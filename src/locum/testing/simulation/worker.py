"""The simulated worker process: Locum's own code, and a body that writes through a fence and does not always obey."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.clock import seconds
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.errors import StaleTermError, TermEndedError
from locum.host.restart import Restart, Restarts
from locum.keeper.control import Hello
from locum.keeper.leases import Leases
from locum.keeper.link import KeeperLink
from locum.registry import open_when_there
from locum.scopes import Scope
from locum.services.active_passive import ActivePassiveRunner
from locum.telemetry import Events
from locum.testing.simulation.divided import Divided
from locum.testing.simulation.loop import Process
from locum.testing.simulation.machine import LocalAlarm
from locum.testing.simulation.network import Line
from locum.testing.simulation.pipe import Pipe
from locum.testing.simulation.recipes import Recipes
from locum.testing.simulation.servers import DatabaseError, LocalFence
from locum.testing.simulation.world import BODY, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.clock import Clock
    from locum.coordination.term import Term
    from locum.keeper.cell import Cell
    from locum.keeper.lease import Lease
    from locum.service import Mode
    from locum.telemetry import Event
    from locum.testing.simulation.home import Home

__all__ = ["Worker"]

_STOP_TIMEOUT: Final = 3.0


class _Link(KeeperLink):
    """The worker's end, with a simulated pipe, cell and alarm below it."""

    def __init__(self, worker: Worker, cell: Cell, *, scope: Scope, events: Events) -> None:
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


class Worker:
    """The worker process: the surroundings of one active-passive service.

    Args:
        home: Where its instance lives.
        keeper: Whom it talks to.
        told: What the keeper does with a message of its.
        cell: The lease cell that both share.
    """

    def __init__(self, home: Home, keeper: Process, told: Callable[[dict[str, Any]], object], cell: Cell) -> None:
        self.home, self.world = home, home.world
        self.process = Process(f"{home.name}.worker", self.world.loop)
        self.code = exit_codes.CLEAN
        self.hear: Callable[[dict[str, Any]], object] = lambda message: None
        self.pipe = Pipe(self.world, self.process, keeper, told)
        self._cell = cell
        self._asked = asyncio.Event()
        self._body: dict[str, Any] | None = None
        self.lines: list[Line] = []
        self.recipes: Recipes | None = None
        self.divided: Divided | None = None
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
        link = _Link(self, self._cell, scope=self._scope, events=events)
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
        commons = Commons(store, link, events=events, fences=lambda: [self._fence])
        coordinator = Coordinator(commons)
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
        if world.recipes:
            self.recipes = Recipes(self.home, self.process, self._fence, coordinator, self._scope, commons=commons)
        if world.shards:
            self.divided = Divided(self.home, self.process, self._fence, coordinator, self)
            await self.divided.start()
        await self._asked.wait()
        await runner.stop("was stopped")
        if self.recipes is not None:
            await self.recipes.stop()
        if self.divided is not None:
            await self.divided.stop()
            await self.divided.close()
        await runner.close()
        await coordinator.close(patience=lease.budget.call_seconds)
        await store.close()
        self.process.kill()

    # -- the body

    async def _work(self, term: Term) -> None:
        world, chance = self.world, self.world.chance
        body = self._body = {"scope": term.scope, "token": term.token, "session": term.lease.session}
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
                        await self._fence.read(f"{NAMESPACE}/{term.scope}", term.token)
                        read = True
                    async with term.transaction(self._fence) as connection:
                        connection.insert(f"{NAMESPACE}/{term.scope}", term.token)
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
                    connection.insert(f"{NAMESPACE}/{term.scope}", term.token)
                await clock.sleep(0.1)
            except (TimeoutError, DatabaseError, StaleTermError, TermEndedError, asyncio.CancelledError):
                await clock.sleep(0.1)

    def _ends(self, how: str) -> None:
        body, self._body = self._body, None
        if body is None or (how == "ended" and not self.process.is_alive):
            return
        at, local = self.home.last_line()
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

    def warn(self, service: str, of: str) -> None:
        """What people should know."""

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
