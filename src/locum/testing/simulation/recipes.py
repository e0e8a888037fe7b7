"""What instances of some runs do beside their service: take a lock, count in a node, be a member, transfer the lead.

Each of these is Locum's own code, over the same network and under the same faults as the service. Until all is healed
they go on; then what they have done is judged.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.coordination.nodes import Nodes
from locum.errors import ConflictError, CoordinationError, StoreError
from locum.scopes import cancel_and_wait
from locum.testing.interception import InterceptedStore
from locum.testing.simulation.servers import COUNTER, LOCK, DatabaseError
from locum.testing.simulation.world import BODY, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from locum.coordination.commons import Commons
    from locum.coordination.coordinator import Coordinator
    from locum.coordination.lock import Held
    from locum.coordination.nodes import Node
    from locum.scopes import Scope
    from locum.store import Change
    from locum.testing.simulation.home import Home
    from locum.testing.simulation.loop import Process
    from locum.testing.simulation.servers import LocalFence

__all__ = ["CREW", "Recipes"]

CREW: Final = "crew"
"""The group whose members the instances are."""

_DEAF: Final = "web-1"  # whose watch loses all wake-ups (R23)
_TASKS: Final = 2  # of each process that take the lock (R12)
_NOT_NOW: Final = (CoordinationError, StoreError, DatabaseError, TimeoutError)


class _DeafStore(InterceptedStore):
    """A store whose every wake-up is lost, also those that tell of silence: who watches looks again all the same."""

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """None, ever."""
        del prefixes
        yield _Silence()


class _Silence:
    """Wake-ups that never come; unlike a generator's, a wait for one may be cancelled again and again."""

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        await asyncio.Event().wait()
        raise StopAsyncIteration


class Recipes:
    """What one worker does beside its service.

    Args:
        home: Where its instance lives.
        process: Its process.
        fence: The database of what is done under the lock.
        coordinator: Its coordinator.
        scope: Its tasks.
        commons: Its coordinator's.
    """

    def __init__(
        self,
        home: Home,
        process: Process,
        fence: LocalFence,
        coordinator: Coordinator,
        scope: Scope,
        *,
        commons: Commons,
    ) -> None:
        store = _DeafStore(commons.store) if home.name == _DEAF else commons.store
        self._watched = Nodes(store, accept=commons.session)
        self._home, self._world, self._process = home, home.world, process
        self._fence, self._coordinator = fence, coordinator
        self._chance, self._clock = home.world.chance, home.machine.clock
        self._holds: list[dict[str, Any]] = []
        self._life = f"{process.name}@{home.world.loop.now}"
        self.shown: Node | None = None
        """What its watch of the counter has shown last."""
        self._takers = [scope.spawn(self._again(self._take, 0.3, 1.5), name="take") for _ in range(_TASKS)]
        self._tasks = [
            *self._takers,
            scope.spawn(self._again(self._count, 0.2, 1.0), name="count"),
            scope.spawn(self._again(self._transfer, 2.0, 8.0), name="transfer"),
            scope.spawn(self._belong(), name="belong"),
            scope.spawn(self._watch(), name="watch"),
        ]
        process.ends.append(self._dies)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._home.name

    @property
    def is_at_rest(self) -> bool:
        """Whether those who took the lock have had their last turn."""
        return all(taker.done() for taker in self._takers)

    async def stop(self) -> None:
        """End all of it, as a body does that is told to."""
        for task in self._tasks:
            await cancel_and_wait(task)

    async def _again(self, act: Callable[[], Awaitable[object]], least: float, most: float) -> None:
        """Do something again and again, with pauses of so many TTLs, until all is healed."""
        while self._world.recipes:
            await self._clock.sleep(self._chance.uniform(least, most) * seconds(self._home.ttl))
            try:
                await act()
            except _NOT_NOW as error:
                self._world.history.remark(self._home.name, f"it could not be: {error}")

    # -- the lock

    async def _take(self) -> None:
        timeout = self._chance.choice((None, None, 0.0, 0.5 * seconds(self._home.ttl)))
        async with self._coordinator.lock(LOCK).hold(timeout=timeout) as held:
            hold = {"scope": held.scope, "token": held.token, "session": held.lease.session}
            self._holds.append(hold)
            self._world.history.note("began", self._home.name, **hold, local=self._clock.now())
            try:
                await self._under(held)
            finally:
                self._ends(hold, "ended")

    async def _under(self, held: Held) -> None:
        """Write into the database and into the lock's own value, and hold it for a while."""
        stubborn = self._chance.random() < self._world.stubborn
        try:
            async with asyncio.timeout(0.5), held.transaction(self._fence) as connection:
                connection.insert(f"{NAMESPACE}/{held.scope}", held.token)
            await held.set(b"%d" % (int(held.value or b"0") + 1))
            await self._clock.sleep(self._chance.uniform(0.0, 0.3) * seconds(self._home.ttl))
        except asyncio.CancelledError:
            if stubborn:  # it goes on, though cancelled
                await self._clock.sleep(self._chance.uniform(0.0, 1.2) * seconds(self._home.ttl))
            raise

    def _ends(self, hold: dict[str, Any], how: str) -> None:
        if hold in self._holds and (self._process.is_alive or how != "ended"):
            self._holds.remove(hold)
            at, local = self._home.last_line()
            self._world.history.note("finished", self._home.name, **hold, how=how, since=at, local=local)

    def _dies(self) -> None:
        for hold in list(self._holds):
            self._ends(hold, "killed")

    # -- nodes, members, transfers

    async def _count(self) -> None:
        """Raise a number by one, by version: of two who do that at once, one is refused."""
        nodes = self._coordinator.nodes
        node = await nodes.get(COUNTER)
        number = b"%d" % (1 if node is None else int(node.value) + 1)
        try:
            if node is None:
                node = await nodes.create(COUNTER, number)
            else:
                node = await nodes.set(COUNTER, number, version=node.version)
        except ConflictError:
            return
        self._world.history.note("kept", self._home.name, version=node.version, value=number.decode())

    async def _watch(self) -> None:
        async for node in self._watched.watch(COUNTER):
            self.shown = node
            if node is not None:
                self._world.history.note("shown", self._home.name, life=self._life, version=node.version)

    async def _belong(self) -> None:
        """Be a member, for as long as this process lives."""
        while True:
            try:
                async with self._coordinator.members(CREW).join():
                    await asyncio.Event().wait()
            except _NOT_NOW:
                await self._clock.sleep(0.1)

    async def _transfer(self) -> None:
        to = self._chance.choice(["web-1", "web-2", "web-3"])
        await self._coordinator.election(BODY).transfer(to=to)
