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
from locum.keeper.hang import turn_interval
from locum.keeper.leases import Leases
from locum.keeper.owner import Owner
from locum.store import Seen
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.clock import Clock
    from locum.keeper.control import Hello, WorkerEnd
    from locum.keeper.lease import Lease
    from locum.scopes import Scope
    from locum.telemetry import Events

__all__ = ["KeeperGoneError", "KeeperLink"]

_log = logger("keeper.link")


class KeeperGoneError(CoordinationError):
    """The keeper of this worker is gone: nobody holds its session any more, it must end at once."""

    def __init__(self) -> None:
        super().__init__("the keeper of this worker is gone: this process ends")


class KeeperLink(Leases):
    """The leases of a worker under a keeper process.

    Args:
        end: The pipe and the cell, as the environment named them.
        clock: The clock on which the leases are counted.
        scope: Owns the tasks.
        events: Told of sessions lost and had again, and of other instances.
    """

    def __init__(self, end: WorkerEnd, *, clock: Clock, scope: Scope, events: Events) -> None:
        super().__init__(Cell(end.cell_fd), clock=clock, scope=scope, events=events)
        self._end = end
        self._armed: dict[int, asyncio.Future[bool]] = {}
        self._handles = 0

    async def open(self, hello: Hello) -> Lease:
        """Say hello and wait at the start gate, until the keeper has a session.

        Raises:
            KeeperGoneError: The keeper ended meanwhile.
        """
        self._stay_tied()
        self._ttl = seconds(hello.ttl)
        self.turn_every = turn_interval(self._ttl, hello.hang_timeout)
        self._control = await Control.over(socket.socket(fileno=self._end.control_fd))
        self._scope.spawn(self._listen(), name="messages of the keeper")
        self._control.send("hello", **asdict(hello))
        return await self.lease()

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        """Have the keeper's timers stand before a body runs (R6)."""
        self._origin.check()
        self._stay_tied()
        self._handles += 1
        handle = self._handles
        answer = self._armed[handle] = asyncio.get_running_loop().create_future()
        self._control.send("arm", handle=handle, generation=lease.generation, token=token)
        try:
            return handle if await answer else None
        except asyncio.CancelledError:
            self.disarm(handle)
            raise
        finally:
            del self._armed[handle]

    def disarm(self, handle: int) -> None:
        """The body has ended."""
        self._origin.check()
        self._control.send("disarm", handle=handle)

    def give_up(self, lease: Lease, why: str) -> None:
        """End the session although a body still runs under it: here its process ends."""
        self._origin.check()
        self._control.send("give_up", generation=lease.generation, why=why)

    def started(self) -> None:
        """Say that all services have been started: from now on a worker that ends is started again."""
        self._control.send("started")

    def completed(self) -> None:
        """Say that the host ends because it was declared to: whatever its exit code is, it does not begin anew."""
        self._control.send("completed")

    def limit(self, *, stop_timeout: float, hang_timeout: float) -> None:
        """So long a stop, and a loop that does not turn, may take from now on."""
        self.turn_every = turn_interval(self._ttl, hang_timeout)
        self._control.send("limits", stop_timeout=stop_timeout, hang_timeout=hang_timeout)

    def _stay_tied(self) -> None:
        # set again each time: a change of rights in between would have cleared it
        if not kernel.die_with_parent(self._end.keeper):
            raise KeeperGoneError

    async def _listen(self) -> None:
        try:
            async for message in self._control.messages():
                self._on_message(message)
        finally:
            self.finish(KeeperGoneError(), "lost its keeper")

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "open":
                budget = Budget(message["ttl"], message["beat"], message["call"])
                owner = Owner.from_bytes(message["owner"].encode())
                self.begin(message["session"], message["generation"], budget, owner, Seen(*message["seen"]))
            case "armed":
                answer = self._armed.get(message["handle"])
                if answer is not None and not answer.done():
                    answer.set_result(message["ok"])
            case "lost":
                self.lose(message["why"])
            case "joined":
                self.joined(message["name"], message["machine"])
            case "gone":
                self.gone(message["name"], message["why"])
            case kind:
                _log.warning("the keeper says %r, which this release does not know", kind)
