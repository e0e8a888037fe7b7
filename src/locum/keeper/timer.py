"""The kernel's kill, and alarms on the clock that counts suspend.

`KillTimer` fires even while the whole process is stopped, its loop blocked or its interpreter held by a C call (R6): no
Python runs between the deadline and the end. It does nothing in PID 1, which ignores signals that it sends to itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from locum.errors import UnsupportedError
from locum.keeper import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarm", "KillTimer"]


class KillTimer:
    """A SIGKILL for this process at an instant of the boot clock."""

    def __init__(self) -> None:
        if os.getpid() == 1:
            raise UnsupportedError(
                "enforcement='kill' means nothing in PID 1, which ignores its own timer: run it under a small init"
                " (docker run --init), or with enforcement='cancel'"
            )
        self._timer = kernel.make_timer(signal.SIGKILL)
        self.armed_at: int | None = None

    def arm(self, instant: int) -> None:
        """Let it stand at an instant (ns), no earlier than it stood before."""
        if self.armed_at is not None and instant < self.armed_at:
            raise ValueError("a kill timer only moves forward")
        kernel.set_timer(self._timer, instant)
        self.armed_at = instant

    def disarm(self) -> None:
        """Take it away: no exclusive body runs."""
        kernel.set_timer(self._timer, 0)
        self.armed_at = None

    def close(self) -> None:
        """Be gone."""
        kernel.delete_timer(self._timer)


class Alarm:
    """Calls back at an instant of the boot clock, in the event loop; once for each `set`.

    Args:
        callback: What to call.
    """

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._fd = kernel.make_timerfd()
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    def set(self, instant: int) -> None:
        """Ring at an instant (ns) instead of the one set before; at once if it is past."""
        kernel.set_timerfd(self._fd, max(instant, 1))

    def clear(self) -> None:
        """Do not ring."""
        kernel.set_timerfd(self._fd, 0)

    def close(self) -> None:
        """Be gone."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew between the kernel's word and ours
        self._callback()
