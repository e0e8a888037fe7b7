"""Keepers as threads for the tests: over a real store whose faults the test plans from outside."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.clock import Clock, nanoseconds
from locum.keeper.thread import KeeperThread
from locum.scopes import Scope
from locum.stores.sqlite import SqliteStore
from locum.telemetry import Event, Events
from locum.testing.faults import FaultyStore
from tests.unit.kit import until

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from locum.store import Store

TTL = 1.0


class Kept:
    """A keeper's thread, and what it told.

    Attributes:
        keeper: The leases.
        told: The events.
        store: The thread's own store, once it has made it.
    """

    def __init__(self, make: Callable[[], Store], scope: Scope, *, enforcement: str, ttl: float) -> None:
        self.told: list[Event] = []
        self.store: FaultyStore | None = None
        self._make = make
        events = Events("web-1", lambda work, name: scope.spawn(work, name=name))
        events.on(Event, self.told.append)
        self.keeper = KeeperThread(
            self._made,
            "web-1",
            nanoseconds(ttl),
            enforcement=enforcement,
            hang_timeout=30.0,
            clock=Clock(),
            scope=scope,
            events=events,
        )

    def _made(self) -> Store:
        store = self._make()
        if isinstance(store, FaultyStore):
            self.store = store
        return store

    def always(self, fault: Any | None) -> None:
        """What becomes of all beats, openings and closes from now on."""
        assert self.store is not None
        for name in ("beat", "open_session", "close_session"):
            self.store.always(name, fault)

    async def tells(self, kind: type[Event]) -> None:
        """Wait for an event."""
        await until(lambda: any(isinstance(one, kind) for one in self.told), f"a {kind.__name__}")


@asynccontextmanager
async def kept(
    path: Path, *, enforcement: str = "cancel", ttl: float = TTL, make: Callable[[], Store] | None = None
) -> AsyncIterator[Kept]:
    """A keeper that is not open yet; closed at the end."""

    def faulty() -> Store:
        return FaultyStore(SqliteStore(path, namespace="billing", clock=Clock()))

    async with Scope("test") as scope:
        made = Kept(make or faulty, scope, enforcement=enforcement, ttl=ttl)
        try:
            yield made
        finally:
            await made.keeper.close()


def keepers() -> list[threading.Thread]:
    """The threads of keepers and stores that live."""
    import threading

    return [thread for thread in threading.enumerate() if thread.name.startswith("locum-")]


def tasks() -> list[str]:
    """The tasks of this loop besides the test's own."""
    return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
