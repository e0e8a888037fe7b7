"""The pipe between keeper and worker: one JSON object a line, both ways.

Worker to keeper: `hello` (what to keep), `arm` and `disarm` (a body begins, has ended), `started`, `completed`,
`limits` (a reload has changed how long a stop or a hang may take).
Keeper to worker: `open` (the start gate: a session is there), `armed`, `lost`; `joined` and `gone` (another instance).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

__all__ = [
    "DUMP_SIGNAL",
    "RELOAD_SIGNAL",
    "STOP_SIGNALS",
    "WORKER_VARIABLE",
    "Control",
    "Hello",
    "WorkerEnd",
]

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What asks an instance to stop: in order, the second time by cancelling, the third time at once."""
RELOAD_SIGNAL: Final = signal.SIGHUP
"""What asks a worker to reload what can be."""
DUMP_SIGNAL: Final = signal.SIGUSR1
"""What asks a worker for its stacks."""
WORKER_VARIABLE: Final = "LOCUM_WORKER"
"""The environment variable by which a worker finds its keeper: CONTROL_FD:CELL_FD:KEEPER_PID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a worker asks its keeper to keep.

    Attributes:
        instance: The instance's name.
        store: The store's URL; it goes over the pipe, so that no password stands on a command line.
        namespace: The host's name.
        ttl: The wanted TTL in nanoseconds.
        stop_timeout: Seconds that the worker may take to stop.
        hang_timeout: Seconds after which a worker whose loop does not turn is ended; `math.inf` for never.
    """

    instance: str
    store: str
    namespace: str
    ttl: int
    stop_timeout: float
    hang_timeout: float


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """The worker's end of the pipe, as the environment names it."""

    control_fd: int
    cell_fd: int
    keeper: int

    def to_text(self) -> str:
        """As the environment variable."""
        return f"{self.control_fd}:{self.cell_fd}:{self.keeper}"

    @classmethod
    def take(cls) -> WorkerEnd | None:
        """Take it out of the environment, so that children of the worker do not think that they are workers."""
        text = os.environ.pop(WORKER_VARIABLE, None)
        if text is None:
            return None
        control_fd, cell_fd, keeper = map(int, text.split(":"))
        for fd in (control_fd, cell_fd):
            os.set_inheritable(fd, False)
        return cls(control_fd, cell_fd, keeper)


class Control:
    """One end of the pipe."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, end: socket.socket) -> Control:
        """The pipe over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=1024 * 1024))

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; to an end that is gone it goes nowhere."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """The messages that come, until the other end is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            if not line:
                return
            yield json.loads(line)

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
