"""A simulated machine: its clock, which is a little wrong, and what its kernel does at an instant of that clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from locum.clock import Clock, Readings
from locum.identity import MachineKey
from locum.keeper.timer import Alarm, KillTimer
from locum.testing.simulation.loop import KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.testing.simulation.loop import Call, Process, VirtualLoop

__all__ = ["LocalAlarm", "LocalClock", "LocalKillTimer", "Machine"]

_MILLION: Final = 1_000_000
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class LocalClock(Clock):
    """A boot clock that runs a few per cent too fast or too slow, from an instant of its own.

    Args:
        loop: Tells the true time.
        rate: Its microseconds in a true second.
        offset: What it shows at the beginning, in nanoseconds.
    """

    def __init__(self, loop: VirtualLoop, rate: int, offset: int) -> None:
        self._loop, self.rate, self.offset = loop, rate, offset

    def now(self) -> int:
        """The instant."""
        return self.offset + self._loop.now * self.rate // _MILLION

    def true(self, instant: int) -> int:
        """The true time at which this clock shows an instant (rounded up)."""
        return -(-(instant - self.offset) * _MILLION // self.rate)

    def wall(self) -> datetime:
        """Some wall clock."""
        return _EPOCH + timedelta(microseconds=self.now() // 1000)

    def readings(self) -> Readings:
        """All clocks at once: here they are one."""
        now = self.now()
        return Readings(now, now, now, now)

    async def sleep(self, duration: float) -> None:
        """Sleep for some seconds of this clock."""
        await asyncio.sleep(max(0.0, duration) * _MILLION / self.rate)


@dataclass(slots=True)
class Machine:
    """One machine: its processes are suspended together.

    Attributes:
        name: Its name.
        loop: Where it lives.
        clock: Its boot clock.
        processes: Those that live.
    """

    name: str
    loop: VirtualLoop
    clock: LocalClock
    processes: list[Process] = field(default_factory=list)
    suspended_at: int | None = None
    _due: list[Callable[[], object]] = field(default_factory=list)

    @property
    def key(self) -> MachineKey:
        """Within which its pids mean something."""
        return MachineKey(self.name, "pid", "time")

    def at(self, instant: int, act: Callable[[], object]) -> None:
        """Have its kernel do something at an instant of the boot clock; after a suspend, before anything else runs."""

        def strike() -> None:
            if self.suspended_at is None:
                act()
            else:
                self._due.append(act)

        self.loop.at(self.clock.true(instant), strike, context=KERNEL)

    def suspend(self) -> None:
        """Stop everything but the boot clock."""
        self.suspended_at = self.loop.now
        for process in self.processes:
            process.freeze(stopped=False)

    def resume(self) -> None:
        """Go on."""
        due, self._due = self._due, []
        for act in due:
            act()
        self.suspended_at = None
        for process in self.processes:
            if process.is_alive:
                process.thaw()


class LocalKillTimer(KillTimer):
    """The kernel's kill of a simulated process.

    Args:
        machine: Whose kernel.
        process: Whom it kills.
    """

    def __init__(self, machine: Machine, process: Process, kill: Callable[[], object]) -> None:
        self._machine, self._process, self._kill = machine, process, kill
        self.armed_at: int | None = None

    def arm(self, instant: int) -> None:
        """Let it stand at an instant (ns), no earlier than it stood before."""
        if self.armed_at is not None and instant < self.armed_at:
            raise ValueError("a kill timer only moves forward")
        self.armed_at = instant
        self._machine.at(instant, lambda: self._strike(instant))

    def disarm(self) -> None:
        """Take it away."""
        self.armed_at = None

    def close(self) -> None:
        """Be gone."""
        self.armed_at = None

    def _strike(self, instant: int) -> None:
        if self.armed_at == instant and self._process.is_alive:
            self._kill()


class LocalAlarm(Alarm):
    """Calls back at an instant of a machine's boot clock, in the process that made it.

    Args:
        machine: Whose clock.
        process: Who is called.
        callback: What to call.
    """

    def __init__(self, machine: Machine, process: Process, callback: Callable[[], object]) -> None:
        self._machine, self._process, self._callback = machine, process, callback
        self._timer: Call | None = None

    def set(self, instant: int) -> None:
        """Ring at an instant (ns) instead of the one set before; at once if it is past."""
        self.clear()
        due = self._machine.clock.true(instant)
        self._timer = self._machine.loop.at(due, self._ring, context=self._process.context)

    def clear(self) -> None:
        """Do not ring."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Be gone."""
        self.clear()

    def _ring(self) -> None:
        self._timer = None
        self._callback()
