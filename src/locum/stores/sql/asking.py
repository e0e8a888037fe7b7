"""How a call becomes a statement: on which connection, by which deadline, and compared with what was seen (R24)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.clock import NANOSECONDS, seconds
from locum.store import Seen
from locum.stores.lines import Lines
from locum.stores.sql.channels import channels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from locum.clock import Clock
    from locum.errors import LocumError
    from locum.stores.address import Address
    from locum.stores.sight import Sight
    from locum.stores.sql.connection import PostgresConnection
    from locum.stores.sql.server import Server
    from locum.stores.sql.statement import Statement
    from locum.stores.sql.wording import Wording

__all__ = ["Asking"]

T = TypeVar("T")

_LONGEST: Final = 2  # call timeouts after which the server gives a statement up that nobody waits for any more


class Asking:
    """The statements of one store and the connections that they go by.

    Args:
        address: Where it is, and as whom one connects.
        database: The database.
        schema: The schema of our tables.
        namespace: Whose sessions and records these are.
        sight: What was seen of the store.
        within: Asked for the seconds that a call may take.
        clock: Counts them.

    Attributes:
        lines: The connections.
        server: What was connected to last; `None` before that.
        say: The statements; there from `open` on.
        space: The channel of the namespace.
    """

    say: Wording

    def __init__(
        self,
        address: Address,
        database: str,
        *,
        schema: str,
        namespace: str,
        sight: Sight,
        within: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._address, self._database, self._clock = address, database, clock
        self._namespace, self._sight, self._within = namespace, sight, within
        self._everywhere, self.space = channels(schema, namespace)
        self.server: Server | None = None
        self.lines: Lines[PostgresConnection] = Lines(
            address.url, connect=self._connect, in_words=self._in_words, clock=clock
        )

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands between."""
        return self.server is not None and self.server.pooled

    @property
    def incarnation(self) -> str:
        """The store's identity, as it was seen."""
        seen = self._sight.seen
        assert seen is not None  # noqa: S101 - every call comes after `open`
        return seen.incarnation

    def deadline(self) -> int:
        """By when a call that begins now must have ended."""
        return self._clock.now() + round(self._within() * NANOSECONDS)

    async def subscribe(self, connection: PostgresConnection) -> None:
        """Begin to hear of changes."""
        await connection.subscribe(self._everywhere, self.space)

    async def ask(
        self,
        call: str,
        statement: Statement,
        *,
        changes: bool,
        lease: bool = False,
        deadline: int | None = None,
        **values: object,
    ) -> Sequence[Any]:
        """The rows of a statement, for a caller who has seen the store; none if it found nothing to do.

        Raises:
            StoreReplacedError: Our tables are not there; nothing was done.
        """
        seen = self._sight.demand()
        assert seen is not None  # noqa: S101 - every call comes after `open`
        known = {"incarnation": seen.incarnation, "seen": seen.revision}
        return await self._run(call, statement, {**known, **values}, changes=changes, lease=lease, deadline=deadline)

    async def ask_as_it_is(self, call: str, statement: Statement, *, changes: bool, **values: object) -> Sequence[Any]:
        """The same, for one who compares nothing."""
        return await self._run(call, statement, values, changes=changes)

    async def look(
        self, call: str, statement: Statement, *, lease: bool = False, deadline: int | None = None, **values: object
    ) -> tuple[Sequence[Any], Seen]:
        """What a question finds, and what it shows of the store, which must be the one that was seen before it.

        Raises:
            StoreReplacedError: It is another one.
        """
        seen = self._sight.demand()
        rows = await self.ask(call, statement, changes=False, lease=lease, deadline=deadline, **values)
        if not rows:
            raise self._sight.replaced("it is gone", seen=seen)
        found = Seen(rows[0]["incarnation"], rows[0]["revision"])
        self._sight.compare(seen, found)
        self._sight.note(found)
        return rows, found

    async def change(
        self, call: str, statement: Statement, *, lease: bool = False, deadline: int | None = None, **values: object
    ) -> Any | None:
        """The row of a change that raises the revision, which is remembered; `None` if it found nothing to do."""
        rows = await self.ask(call, statement, changes=True, lease=lease, deadline=deadline, **values)
        if not rows:
            return None
        self._sight.note(Seen(self.incarnation, rows[0]["revision"]))
        return rows[0]

    async def do(
        self,
        call: str,
        work: Callable[[PostgresConnection], Awaitable[T]],
        *,
        changes: bool,
        lease: bool = False,
        deadline: int | None = None,
    ) -> T:
        """Do something on a connection, by a deadline, whatever was seen."""

        async def on_it(connection: PostgresConnection) -> T:
            self.server = connection.server
            return await work(connection)

        self.lines.demand_open()
        link = self.lines.leases if lease else self.lines.others
        left = self._within() if deadline is None else max(seconds(deadline - self._clock.now()), 0.0)
        return await link.call(call, on_it, timeout=left, changes=changes)

    # -- inside

    async def _run(
        self,
        call: str,
        statement: Statement,
        values: Mapping[str, object],
        *,
        changes: bool,
        lease: bool = False,
        deadline: int | None = None,
    ) -> Sequence[Any]:
        from asyncpg import UniqueViolationError

        from locum.stores.sql.faults import is_gone

        given = {"namespace": self._namespace, "space": self.space, "everywhere": self._everywhere, **values}

        async def work(connection: PostgresConnection) -> Sequence[Any]:
            try:
                return await connection.fetch(statement, given)
            except UniqueViolationError:  # somebody was quicker: nothing was done
                return ()
            except Exception as error:
                if is_gone(error) and self._sight.seen is not None:
                    raise self._sight.replaced("it is gone") from None
                raise

        return await self.do(call, work, changes=changes, lease=lease, deadline=deadline)

    async def _connect(self) -> PostgresConnection:
        from locum.stores.sql.connection import PostgresConnection

        longest = _LONGEST * self._within()
        return await PostgresConnection.make(self._address, database=self._database, longest=longest)

    def _in_words(self, error: Exception) -> str | LocumError:
        from locum.stores.sql.faults import in_words

        return in_words(error, self._address.url)
