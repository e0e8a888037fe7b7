"""A coordinator for scripts that block: `with locum.blocking.connect(url) as coordinator`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from locum.blocking.contests import Barrier, Election, Lock, ReadWriteLock, Shared
from locum.blocking.members import Members, Naming
from locum.blocking.nodes import Nodes
from locum.blocking.portal import Portal, entered
from locum.threads import loop_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from locum.coordination import coordinator


__all__ = ["Coordinator", "connect"]


class Coordinator:
    """Elections, locks, barriers and nodes under one instance's session, for code that blocks; it comes from `connect`.

    The arguments are those of `locum.Coordinator`'s methods of the same names.
    """

    def __init__(self, handle: coordinator.Coordinator, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def one_machine(self) -> bool:
        """Whether all instances must live on this machine."""
        return self._handle.one_machine

    def election(self, name: str, *, priority: int | None = 0, lock_delay: float = 0.0) -> Election:
        """The election of that name."""
        return Election(self._handle.election(name, priority=priority, lock_delay=lock_delay), self._portal)

    def lock(
        self,
        name: str,
        *,
        timeout: float | None = None,
        reentrant: bool = False,
        lock_delay: float = 0.0,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> Lock:
        """The lock of that name; where it may be entered again, that is by the same thread."""
        handle = self._handle.lock(
            name,
            timeout=timeout,
            reentrant=reentrant,
            lock_delay=lock_delay,
            stop_timeout=stop_timeout,
            on_lost=on_lost,
        )
        return Lock(handle, self._portal)

    def read_write_lock(
        self,
        name: str,
        *,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> ReadWriteLock:
        """The read-write lock of that name."""
        handle = self._handle.read_write_lock(name, timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost)
        return ReadWriteLock(handle, self._portal)

    def semaphore(
        self,
        name: str,
        *,
        permits: int,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> Shared:
        """The semaphore of that name."""
        handle = self._handle.semaphore(
            name, permits=permits, timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost
        )
        return Shared(handle, self._portal)

    def barrier(self, name: str, *, parties: int) -> Barrier:
        """The barrier of that name."""
        return Barrier(self._handle.barrier(name, parties=parties), self._portal)

    @property
    def nodes(self) -> Nodes:
        """Small values that are read, written by version and watched."""
        return Nodes(self._handle.nodes, self._portal)

    def members(self, group: str) -> Members:
        """Who is here, in the group of that name."""
        return Members(self._handle.members(group), self._portal)

    @property
    def naming(self) -> Naming:
        """Endpoints under the names of services."""
        return Naming(self._handle.naming, self._portal)


@contextmanager
def connect(
    url: str,
    *,
    namespace: str = "default",
    ttl: float = 6.0,
    instance: str | None = None,
    enforcement: str = "cancel",
    hang_timeout: float = 30.0,
    timeout: float | None = 30.0,
) -> Iterator[Coordinator]:
    """A coordinator for code that blocks, kept in threads of its own for the length of the block.

    The arguments and the errors are those of `locum.Coordinator.connect`.
    """
    from locum.coordination.coordinator import Coordinator as AsyncCoordinator  # whoever has a host needs none of it

    connecting = AsyncCoordinator.connect(
        url,
        namespace=namespace,
        ttl=ttl,
        instance=instance,
        enforcement=enforcement,
        hang_timeout=hang_timeout,
        timeout=timeout,
    )
    with loop_in_a_thread("locum-coordinator") as loop:
        portal = Portal(loop)
        with entered(connecting, portal.run) as handle:
            yield Coordinator(handle, portal)
