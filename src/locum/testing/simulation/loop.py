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

__all__ = ["KERNEL", "Call", "Process", "RestlessError", "VirtualLoop"]

_process: ContextVar[Process | None] = ContextVar("process", default=None)
_MOST_AT_ONCE: Final = 200_000

KERNEL: Final = Context()
"""In which things are scheduled that no process does: of machines, of the network, of servers."""


class RestlessError(Exception):
    """Something goes on for ever without time going on."""


class Call:
    """Something to be called; what an `asyncio.TimerHandle` is to whoever holds one, at a third of its cost.

    Args:
        context: In which it is called.
        callback: What is called.
        args: With what.
    """

    __slots__ = ("args", "callback", "context", "is_cancelled", "process")

    def __init__(self, context: Context, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.context, self.callback, self.args = context, callback, args
        self.process = context.get(_process)
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not call it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it is not called."""
        return self.is_cancelled


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
        self._held: list[Call] = []
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
        self._loop.again(self._held)
        self._held = []

    def kill(self) -> None:
        """End it between two lines."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._loop.leave(self._held)
        for end in self.ends:
            end()

    def hold(self, call: Call) -> None:
        """Keep what it will do when it is thawed."""
        self._held.append(call)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of a whole cluster. No descriptors, no threads; `now` is in nanoseconds from the beginning."""

    def __init__(self) -> None:
        self._running = False
        super().__init__()
        self.now = 0
        self._soon: deque[Call] = deque()
        self._later: list[tuple[int, int, Call]] = []
        self._count = 0
        self._left: list[Call] = []  # of the dead: what is collected runs its `finally`

    def is_running(self) -> bool:
        """Whether something is being called."""
        return self._running

    def time(self) -> float:
        """Seconds of true time."""
        return self.now / NANOSECONDS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        """Call something as one of the next things."""
        call = Call(copy_context() if context is None else context, callback, args)
        self._soon.append(call)
        return call

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        """Call something at an instant of true time, in seconds."""
        return self.at(nanoseconds(when), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        """Call something after so many seconds of true time."""
        return self.at(self.now + nanoseconds(delay), callback, *args, context=context)

    def at(self, when: int, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Call:
        """Call something at an instant of true time, in nanoseconds."""
        call = Call(copy_context() if context is None else context, callback, args)
        self._count += 1
        heapq.heappush(self._later, (when if when > self.now else self.now, self._count, call))
        return call

    def again(self, calls: list[Call]) -> None:
        """Call what was held back, in its order."""
        self._soon.extend(calls)

    def leave(self, calls: list[Call]) -> None:
        """Never call what the dead had still to do; nor forget it, before everything is over."""
        self._left.extend(calls)

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
                while later and later[0][2].is_cancelled:
                    heapq.heappop(later)
                if not later or later[0][0] > instant:
                    return
                self.now = later[0][0]
                while later and later[0][0] == self.now:
                    soon.append(heapq.heappop(later)[2])
            call = soon.popleft()
            if call.is_cancelled:
                continue
            at_once += 1
            if at_once > _MOST_AT_ONCE:
                raise RestlessError(f"{call.callback!r} and others go on for ever at {self.now}")
            process = call.process
            if process is not None:
                if not process.is_alive:
                    self._left.append(call)
                    continue
                if process.frozen_at is None and process.on_step is not None:
                    process.steps += 1
                    number, strike = process.on_step
                    if process.steps >= number:
                        process.on_step = None
                        strike()
                if process.frozen_at is not None:  # for as long as it is, or since this very step
                    process.hold(call)
                    continue
            try:
                call.context.run(call.callback, *call.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # as any loop does
                self.call_exception_handler({"message": f"{call.callback!r} failed", "exception": error})

    def discard(self) -> None:
        """Be gone, and let nothing of what was left pending run or complain."""
        self._soon.clear()
        self._later.clear()
        self._left.clear()
        self.close()
