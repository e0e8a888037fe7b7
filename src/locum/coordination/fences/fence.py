"""What every fence is, and the statements that most databases understand (R21)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.errors import StaleTermError, UnsupportedError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["CHECK", "CREATE", "HIGHEST", "RAISE", "Fence"]

CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS locum_fence (scope VARCHAR(512) NOT NULL PRIMARY KEY, highest BIGINT NOT NULL)"
)
RAISE: Final = (
    "INSERT INTO locum_fence (scope, highest) VALUES (:scope, :token)"
    " ON CONFLICT (scope) DO UPDATE SET highest = excluded.highest WHERE excluded.highest > locum_fence.highest"
)
HIGHEST: Final = "SELECT highest FROM locum_fence WHERE scope = :scope"
# writes nothing new, and takes the write lock: what follows in this transaction cannot be overtaken by a raise
CHECK: Final = "UPDATE locum_fence SET highest = :token WHERE scope = :scope AND highest = :token"

CREATE_POSITIONS: Final = (
    "CREATE TABLE IF NOT EXISTS locum_position (scope VARCHAR(512) NOT NULL PRIMARY KEY, reached TEXT NOT NULL)"
)
POSITION: Final = "SELECT reached FROM locum_position WHERE scope = :scope"
# two statements that every database has, under the fence's lock
FORGET_POSITION: Final = "DELETE FROM locum_position WHERE scope = :scope"
KEEP_POSITION: Final = "INSERT INTO locum_position (scope, reached) VALUES (:scope, :reached)"


class Fence(ABC):
    """The fence of one database, reached through one library.

    It is raised on a connection of its own, since the user's may be in the middle of a transaction.

    Attributes:
        is_async: Whether its connections belong to an event loop.
    """

    is_async = False
    create: ClassVar[str] = CREATE
    """Makes the fence's table."""
    _check: ClassVar[str] = CHECK
    _highest: ClassVar[str] = HIGHEST

    @property
    @abstractmethod
    def database(self) -> str:
        """Which database it is, whatever library and address it is reached by; known once it is open."""

    async def open(self) -> None:  # noqa: B027 - most know it from the start
        """Find out which database it is, where only the database itself can tell."""

    async def make(self) -> None:
        """Make the fence's table if it is not there, and open it."""
        async with self.transaction() as connection:
            await self._run(connection, self.create, {})
        await self.open()

    @abstractmethod
    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence of a scope, waiting at most `timeout` seconds for an older transaction.

        Raises:
            StaleTermError: It has seen this token or a higher one: of another term, if the store has forgotten that.
            TimeoutError: An older transaction still holds it.
        """

    async def raise_within(self, connection: Any, scope: str, token: int) -> None:
        """Raise the fence inside an open transaction of the user's, which then holds it until its end."""
        await self._run(connection, self.create, {})
        await self._run(connection, RAISE, {"scope": scope, "token": token})

    async def check(self, connection: Any, scope: str, token: int) -> None:
        """Check a token inside the open transaction of a connection.

        Raises:
            StaleTermError: Another token is the highest.
            UnsupportedError: No transaction is open.
        """
        count, _ = await self._run(connection, self._check, {"scope": scope, "token": token})
        if not self._in_transaction(connection):
            raise UnsupportedError("a fence is checked inside a transaction: begin one first, or use Term.transaction")
        if count != 1:
            _, found = await self._run(connection, self._highest, {"scope": scope})
            raise StaleTermError(scope, token, found[0] if found else None)

    async def make_positions(self) -> None:
        """Make the table of positions if it is not there; several may do so at the same moment."""
        try:
            async with self.transaction() as connection:
                await self._run(connection, CREATE_POSITIONS, {})
        except Exception:
            async with self.transaction() as connection:  # another one was quicker; or this says what is wrong
                await self._run(connection, POSITION, {"scope": ""})

    async def position(self, connection: Any, scope: str) -> str | None:
        """The position that was kept for a scope, as this transaction sees it; `None` if none was."""
        _, row = await self._run(connection, POSITION, {"scope": scope})
        return None if row is None else str(row[0])

    async def keep_position(self, connection: Any, scope: str, position: str) -> None:
        """Keep a position within an open transaction, together with whatever else that writes."""
        await self._run(connection, FORGET_POSITION, {"scope": scope})
        await self._run(connection, KEEP_POSITION, {"scope": scope, "reached": position})

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction as a context: begun, given as a connection, committed, or rolled back on an error."""

    @abstractmethod
    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        """Execute a statement; how many rows it changed, and the first row it gave."""

    @abstractmethod
    def _in_transaction(self, connection: Any) -> bool:
        """Whether a transaction is open."""
