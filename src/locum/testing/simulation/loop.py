"""An event loop in virtual time, and the processes that live in it.

Nothing here waits: when nobody has anything to do, time goes on to the next timer. Every callback belongs to the
process in whose context it was scheduled. Those of a dead process are dropped, so that it runs no further line, not
even its `finally`; those of a frozen one are kept until it goes on. (While garbage is not collected: a task of a dead
process that nobody holds any more would be closed like a generator.)
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final

from locum.clock import NANOSECONDS, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KERNEL", "Process", "RestlessError", "VirtualLoop"]

_process: ContextVar[Process | None] = ContextVar("process", default=None)
_MOST_AT_ONCE: Final = 200_000

KERNEL: Final = Context()
"""In which things are scheduled that no process does: of machines, of the network, of servers."""


class RestlessError(Exception):
    """Something goes on for ever without time going on."""


class Process:
    """A simulated process of the operating system.

    Args:
        name: For the history.
        loop: Where it lives.
    """

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name, self._loop = name, loop
        self.is_alive = True
        self.is_stopped = False
        """Whether it is stopped by a signal or a freezer, as /proc would say."""
        self.frozen_at: int | None = None
        self.steps = 0
        self.on_step: tuple[int, Callable[[], object]] | None = None
        """What strikes it between two of its steps: before the step of that number."""
        self.ends: list[Callable[[], object]] = []
        """What is called once it is dead."""
        self._held: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(_process.set, self)

    def begin(self, function: Callable[[], object]) -> None:
        """Have it call something as its next thing."""
        self._loop.call_soon(function, context=self.context)

    def freeze(self, *, stopped: bool) -> None:
        """Let it run no line until it is thawed.

        Args:
            stopped: Whether /proc shows that; otherwise it is busy, or held up by something of its own.
        """
        if self.frozen_at is None:
            self.frozen_at = self._loop.now
        self.is_stopped = self.is_stopped or stopped

    def thaw(self) -> None:
        """Let it go on where it was."""
        self.frozen_at, self.is_stopped = None, False
        self._loop.again(self, self._held)
        self._held = []

    def kill(self) -> None:
        """End it between two lines."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._loop.leave(self._held)
        for end in self.ends:
            end()

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep what it will do when it is thawed."""
        self._held.append(handle)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of a whole cluster. No descriptors, no threads; `now` is in nanoseconds from the beginning."""

    def __init__(self) -> None:
        self._running = False
        super().__init__()
        self.now = 0
        self._soon: deque[tuple[asyncio.Handle, Process | None]] = deque()
        self._later: list[tuple[int, int, asyncio.Handle, Process | None]] = []
        self._count = 0
        self._left: list[asyncio.Handle] = []  # of the dead: what is collected runs its `finally`

    def is_running(self) -> bool:
        """Whether something is being called."""
        return self._running

    def time(self) -> float:
        """Seconds of true time."""
        return self.now / NANOSECONDS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call something as one of the next things."""
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append((handle, context.get(_process)))
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at an instant of true time, in seconds."""
        return self.at(nanoseconds(when), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something after so many seconds of true time."""
        return self.at(self.now + nanoseconds(delay), callback, *args, context=context)

    def at(
        self, when: int, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at an instant of true time, in nanoseconds."""
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when / NANOSECONDS, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._later, (max(when, self.now), self._count, handle, context.get(_process)))
        return handle

    def again(self, process: Process, handles: list[asyncio.Handle]) -> None:
        """Call what was held back, in its order."""
        self._soon.extend((handle, process) for handle in handles)

    def leave(self, handles: list[asyncio.Handle]) -> None:
        """Never call what the dead had still to do; nor forget it, before everything is over."""
        self._left.extend(handles)

    def run_to(self, instant: int) -> None:
        """Let the time go on to an instant, in nanoseconds."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            self._run_to(instant)
        finally:
            self._running = False
            asyncio._set_running_loop(None)
        self.now = instant

    def _run_to(self, instant: int) -> None:
        soon, later, at_once = self._soon, self._later, 0
        while True:
            if not soon:
                at_once = 0
                while later and later[0][2].cancelled():
                    heapq.heappop(later)
                if not later or later[0][0] > instant:
                    return
                self.now = later[0][0]
                while later and later[0][0] == self.now:
                    _, _, timer, process = heapq.heappop(later)
                    soon.append((timer, process))
            handle, process = soon.popleft()
            if handle.cancelled():
                continue
            at_once += 1
            if at_once > _MOST_AT_ONCE:
                raise RestlessError(f"{handle!r} and others go on for ever at {self.now}")
            if process is not None:
                if not process.is_alive:
                    self._left.append(handle)
                    continue
                if process.frozen_at is None and process.on_step is not None:
                    process.steps += 1
                    number, strike = process.on_step
                    if process.steps >= number:
                        process.on_step = None
                        strike()
                if process.frozen_at is not None:  # for as long as it is, or since this very step
                    process.hold(handle)
                    continue
            handle._run()

    def discard(self) -> None:
        """Be gone, and let nothing of what was left pending run or complain."""
        self._soon.clear()
        self._later.clear()
        self._left.clear()
        self.close()
