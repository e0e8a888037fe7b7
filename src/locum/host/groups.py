"""Services that begin anew together when one of them fails too often; and what comes of it when that is too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.errors import CrashLoopError
from locum.host.restart import Restart, Restarts
from locum.scopes import Scope, cancel_and_wait
from locum.telemetry import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from locum.clock import Clock
    from locum.host.plan import Declaration

__all__ = ["Groups"]

_log = logger("host")


class Groups:
    """The groups of one run of a host.

    Args:
        declarations: All services.
        restart: Stops the services of these names, and starts them anew.
        escalate: What is done where a group failed too often, or did not begin anew.
        clock: Counts.
    """

    def __init__(
        self,
        declarations: Sequence[Declaration],
        *,
        restart: Callable[[list[str]], Awaitable[None]],
        escalate: Callable[[Exception], object],
        clock: Clock,
    ) -> None:
        self._restart, self._escalate, self._clock = restart, escalate, clock
        self._members: dict[str, list[str]] = {}
        for one in declarations:
            if one.group is not None:
                self._members.setdefault(one.group, []).append(one.name)
        self._restarts = {name: Restarts(f"the group {name}", Restart(), clock=clock) for name in self._members}
        self._scope = Scope("groups", on_error=self._on_error)
        self._at_work: dict[str, asyncio.Task[None]] = {}

    def begin_anew(self, service: str, crash: CrashLoopError) -> bool:
        """A service failed too often: its group begins anew, or escalates itself.

        Returns:
            Whether it has a group.
        """
        group = next((name for name, members in self._members.items() if service in members), None)
        if group is None:
            return False
        if group not in self._at_work:
            self._at_work[group] = self._scope.spawn(self._begin_anew(group, crash), name=group)
        return True

    async def close(self) -> None:
        """Let nothing begin anew any more."""
        for task in list(self._at_work.values()):
            await cancel_and_wait(task)
        await self._scope.close()

    async def _begin_anew(self, group: str, crash: CrashLoopError) -> None:
        try:
            pause = self._restarts[group].after(crash, ran=0.0)
            _log.warning("the group %s begins anew in %.1f s: %s", group, pause, crash)
            await self._clock.sleep(pause or 0.0)
            await self._restart(self._members[group])
        finally:
            del self._at_work[group]

    def _on_error(self, task: str, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._escalate(error)
