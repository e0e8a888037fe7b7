"""The worker's side of the pipe: says hello, waits at the start gate, and holds the leases that the keeper keeps."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from locum.clock import seconds
from locum.errors import CoordinationError
from locum.keeper import kernel
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.control import Control
from locum.keeper.lease import Lease
from locum.keeper.owner import Owner
from locum.keeper.timer import Alarm
from locum.telemetry import InstanceJoined, InstanceLost, StoreLost, StoreRestored, logger

if TYPE_CHECKING:
    from locum.clock import Clock
    from locum.keeper.control import Hello, WorkerEnd
    from locum.scopes import Scope
    from locum.telemetry import Events

__all__ = ["KeeperGoneError", "KeeperLink"]

_log = logger("keeper.link")


class KeeperGoneError(CoordinationError):
    """The keeper of this worker is gone: nobody holds its session any more, it must end at once."""

    def __init__(self) -> None:
        super().__init__("the keeper of this worker is gone: this process ends")


class KeeperLink:
    """The leases of a worker under a keeper process.

    Args:
        end: The pipe and the cell, as the environment named them.
        clock: The clock on which the leases are counted.
        scope: Owns the tasks.
        events: Told of sessions lost and had again, and of other instances.
    """

    def __init__(self, end: WorkerEnd, *, clock: Clock, scope: Scope, events: Events) -> None:
        self._end, self._scope, self._events = end, scope, events
        self.clock = clock
        self._cell = Cell(end.cell_fd)
        self._owner: Owner | None = None
        self._lease: Lease | None = None
        self._opened = asyncio.Event()
        self._armed: dict[int, asyncio.Future[bool]] = {}
        self._handles = 0
        self.gone = asyncio.Event()
        """Set when the keeper is gone."""

    async def open(self, hello: Hello) -> Lease:
        """Say hello and wait at the start gate, until the keeper has a session.

        Raises:
            KeeperGoneError: The keeper ended meanwhile.
        """
        self._stay_tied()
        self._control = await Control.over(socket.socket(fileno=self._end.control_fd))
        self._deadline = Alarm(self._on_deadline)
        self._scope.spawn(self._listen(), name="messages of the keeper")
        self._control.send("hello", **asdict(hello))
        return await self.lease()

    @property
    def owner(self) -> Owner:
        """What the session's record says of this instance."""
        if self._owner is None:
            raise RuntimeError("the start gate has not been passed")
        return self._owner

    async def lease(self) -> Lease:
        """The lease that is there now; waits while there is none."""
        while self._lease is None:
            await self._opened.wait()
            if self.gone.is_set():
                raise KeeperGoneError
        return self._lease

    async def arm(self, lease: Lease) -> int | None:
        """Have the keeper's timers stand before a body runs (R6)."""
        self._stay_tied()
        self._handles += 1
        handle = self._handles
        answer = self._armed[handle] = asyncio.get_running_loop().create_future()
        self._control.send("arm", handle=handle, generation=lease.generation)
        try:
            return handle if await answer else None
        except asyncio.CancelledError:
            self.disarm(handle)
            raise
        finally:
            del self._armed[handle]

    def disarm(self, handle: int) -> None:
        """The body has ended."""
        self._control.send("disarm", handle=handle)

    def started(self) -> None:
        """Say that all services have been started: from now on a worker that ends is started again."""
        self._control.send("started")

    def turned(self) -> None:
        """Note that the event loop turns."""
        self._cell.turned_at = self.clock.now()

    def _stay_tied(self) -> None:
        # set again each time: a change of rights in between would have cleared it
        if not kernel.die_with_parent(self._end.keeper):
            raise KeeperGoneError

    async def _listen(self) -> None:
        try:
            async for message in self._control.messages():
                self._on_message(message)
        finally:
            self.gone.set()
            self._opened.set()
            if self._lease is not None:
                self._lease.lose("lost its keeper")

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "open":
                self._owner = Owner.from_bytes(message["owner"].encode())
                budget = Budget(message["ttl"], message["beat"], message["call"])
                if message["generation"] > 1:
                    self._events.tell(StoreRestored(instance=self._events.instance))
                self._lease = Lease(message["session"], message["generation"], budget, self._cell, self.clock)
                self._deadline.set(self._lease.cancel_at)
                self._opened.set()
            case "armed":
                answer = self._armed.get(message["handle"])
                if answer is not None and not answer.done():
                    answer.set_result(message["ok"])
            case "lost":
                lease, self._lease = self._lease, None
                self._opened.clear()
                self._deadline.clear()
                self._events.tell(StoreLost(instance=self._events.instance, why=message["why"]))
                if lease is not None:
                    lease.lose(message["why"])
            case "joined":
                name, machine = message["name"], message["machine"]
                self._events.tell(InstanceJoined(instance=self._events.instance, name=name, machine=machine))
            case "gone":
                self._events.tell(
                    InstanceLost(instance=self._events.instance, name=message["name"], why=message["why"])
                )
            case kind:
                _log.warning("the keeper says %r, which this release does not know", kind)

    def _on_deadline(self) -> None:
        lease = self._lease
        if lease is None:
            return
        if lease.is_current:
            self._deadline.set(lease.cancel_at)  # a beat was answered since the alarm was set
            return
        lease.miss(f"lost its lease: no answer from the store for {seconds(lease.budget.ttl) * 0.6:.1f} s")
        # the session may yet live: look again, for terms that begin after an answer has come
        self._deadline.set(self.clock.now() + lease.budget.beat)
