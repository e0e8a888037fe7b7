"""The connections of one process to a server, as every driver of one has them: opened, closed, and asked through.

One is for sessions and beats, so that a long list never delays a beat; one for the rest; and one stays with the server,
for what that pushes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from locum.errors import StoreUnavailableError
from locum.scopes import Scope
from locum.stores.link import Connection, Link
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.clock import Clock
    from locum.errors import LocumError

__all__ = ["Lines"]

_log = logger("stores")
C = TypeVar("C", bound=Connection)


class Lines(Generic[C]):
    """The connections of one open store.

    Args:
        store: The store's URL without secrets, for messages.
        connect: Makes a connection.
        in_words: What a failure means, as a link is told it.
        clock: Measures the pauses between two tries to connect.

    Attributes:
        leases: For sessions and beats.
        others: For all other calls.
        listening: For what is pushed.
        was_there: Whether this instance has worked with the store before.
    """

    leases: Link[C]
    others: Link[C]
    listening: Link[C]

    def __init__(
        self,
        store: str,
        *,
        connect: Callable[[], Awaitable[C]],
        in_words: Callable[[Exception], str | LocumError],
        clock: Clock,
    ) -> None:
        self._store, self._connect, self._in_words, self._clock = store, connect, in_words, clock
        self.was_there = False
        self._scope: Scope | None = None

    def demand_open(self) -> Scope:
        """Where the store's own tasks run.

        Raises:
            StoreUnavailableError: It is not open.
        """
        if self._scope is None:
            raise StoreUnavailableError(self._store, "this connection is not open")
        return self._scope

    def open(self) -> None:
        """Have them ready; each connects with its first call."""
        self.leases, self.others, self.listening = (self.another() for _ in range(3))
        self._scope = Scope(f"store {self._store}", on_error=_log_failure)

    def another(self, connect: Callable[[], Awaitable[C]] | None = None) -> Link[C]:
        """One more, which whoever asked for it closes."""
        return Link(
            self._store,
            connect=connect or self._connect,
            in_words=self._in_words,
            was_there=lambda: self.was_there,
            clock=self._clock,
        )

    async def close(self) -> None:
        """Cut them; calls that still run end at once."""
        scope, self._scope = self._scope, None
        if scope is None:
            return
        for link in (self.leases, self.others, self.listening):
            await link.close()
        await scope.close()


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed: %s", task, error)
