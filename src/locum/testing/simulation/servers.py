"""The servers of a simulation: the store, watched by the history, and the database of the services that run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.fence import Fence
from locum.coordination.grant import Grant
from locum.coordination.nodes import NODES, Node
from locum.coordination.shard import ShardState
from locum.errors import StaleTermError
from locum.stores.memory import MemoryServer, MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from locum.clock import Clock
    from locum.store import Expect, Record, Seen, SessionInfo
    from locum.testing.simulation.history import History
    from locum.testing.simulation.network import Line

__all__ = ["COUNTER", "LOCK", "Connection", "Database", "DatabaseError", "LocalFence", "WatchedServer", "WatchedStore"]

LOCK: Final = "ledger"
"""The lock that instances take beside their service; its value is a number, which each raises by one."""

COUNTER: Final = "counts/turns"
"""The node in which they count."""

_SHARDS: Final = "shard/"


class WatchedServer(MemoryServer):
    """A memory server that tells the history what has landed.

    Args:
        clock: Tells the age of tombstones.
        history: Told.
    """

    def __init__(self, *, clock: Clock, history: History) -> None:
        super().__init__("simulated", clock=clock)
        self._history, self._was_made = history, False

    def open(self, seen: Seen | None, *, make: bool = True) -> Seen:
        """Make the store if there is none; a stranger who starts on one that was wiped is the operator's case (R25)."""
        was_wiped = self._data is None and self._was_made
        self._was_made = True
        found = super().open(seen, make=make)
        return self.reset() if was_wiped and seen is None else found

    def reset(self) -> Seen:
        """What an operator does after a restore: `locum store reset` (R25)."""
        self._history.note("reset", "store")
        return self.renew(None, 0)

    def open_session(self, namespace: str, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session."""
        info = super().open_session(namespace, owner, ttl, session_id)
        self._history.note("opened", "store", session=session_id)
        return info

    def beat(self, namespace: str, session_id: str, number: int) -> None:
        """Write a beat."""
        super().beat(namespace, session_id, number)
        self._history.note("beat", "store", session=session_id, number=number)

    def close(self, namespace: str, session_id: str, *, beat: int | None, reason: bytes) -> bool:
        """Close a session."""
        was_open = self._of(namespace).status(session_id).is_open
        closed = super().close(namespace, session_id, beat=beat, reason=reason)
        if was_open and closed:
            why = reason.decode()
            self._history.note("closed", "store", session=session_id, observed=beat is not None, why=why)
        return closed

    def write(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None,
        if_open: str | None,
        if_gone: str | None,
        if_empty: str | None,
        drop: str | None,
    ) -> Record:
        """Compare and set."""
        guards = {"session": session, "if_open": if_open, "if_gone": if_gone, "if_empty": if_empty, "drop": drop}
        record = super().write(namespace, key, value, expect=expect, **guards)
        if session is not None:
            self._history.note("bound", "store", key=key, session=session)
        if key.startswith("grant/"):
            grant, scope = Grant.of(record), key.removeprefix("grant/")
            session, attempt = (grant.holder.session, grant.holder.attempt) if grant.holder else (None, None)
            self._history.note("granted", "store", scope=scope, token=grant.token, session=session, attempt=attempt)
            if scope == f"lock/{LOCK}":
                self._history.note("valued", "store", key=scope, value=(grant.value or b"0").decode())
            elif scope.startswith(_SHARDS):
                reached = ShardState.of(grant.value).position or 0
                self._history.note("valued", "store", key=scope, value=str(reached))
        elif key == f"{NODES}{COUNTER}":
            count = Node.of(record).value.decode()
            self._history.note("landed", "store", key=COUNTER, revision=record.revision, value=count)
        return record


class WatchedStore(MemoryStore):
    """A connection that tells the history which deadline its owner may count on: from before the sending (R4).

    Args:
        who: Whose it is.
        history: Told.
        given: As for any `MemoryStore`.
    """

    def __init__(self, who: str, history: History, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._who, self._history = who, history
        self._first: dict[str, int] = {}

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session; its lease counts from the first sending."""
        sent = self._first.setdefault(session_id, self._clock.now())
        info = await super().open_session(owner, ttl, session_id)
        self._history.note("lease", self._who, session=session_id, until=sent + info.ttl * 85 // 100, ttl=info.ttl)
        return info

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive; its lease counts from this sending."""
        sent = self._clock.now()
        await super().beat(session_id, number)
        self._history.note("renewed", self._who, session=session_id, sent=sent)


class DatabaseError(Exception):
    """The database has rolled a transaction back."""


class Database:
    """The database of the services: rows, and one row with the highest token for each scope.

    A raise ends an older transaction that holds the row: so a transaction is committed only if the row is as it was
    when that transaction locked it.

    Args:
        history: Told of what landed.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.highest: dict[str, int] = {}

    def raise_to(self, who: str, scope: str, token: int) -> tuple[bool, int]:
        """Raise the highest token of a scope: whether it rose, and what it is now."""
        rose = token > self.highest.get(scope, 0)
        if rose:
            self.highest[scope] = token
        self._history.note("raised", who, scope=scope, token=token, highest=self.highest[scope])
        return rose, self.highest[scope]

    def lock(self, scope: str, token: int) -> tuple[int, int | None]:
        """Lock the row if it has this token: how many rows that were, and the highest."""
        highest = self.highest.get(scope)
        return int(highest == token), highest

    def read(self, who: str, scope: str, token: int) -> None:
        """A body reads its state."""
        self._history.note("read", who, scope=scope, token=token)

    def commit(self, who: str, scope: str, token: int, locked: Mapping[str, int | None]) -> None:
        """Commit a row, if all that was locked is as it was then."""
        if any(self.highest.get(of) != highest for of, highest in locked.items()):
            raise DatabaseError("the row was raised meanwhile, and this transaction ended")
        self._history.note("wrote", who, scope=scope, token=token)


class Connection:
    """One transaction of one body."""

    def __init__(self) -> None:
        self.locked: dict[str, int | None] = {}
        self.row: tuple[str, int] | None = None

    def insert(self, scope: str, token: int) -> None:
        """Write a row of a scope, under a token."""
        self.row = (scope, token)


class LocalFence(Fence):
    """The fence of the simulated database, over a network that loses answers.

    Args:
        database: The database.
        line: The way there.
        who: Whose it is.
    """

    database = "simulated"
    is_async = True

    def __init__(self, database: Database, line: Line, who: str) -> None:
        self._database, self._line, self._who = database, line, who

    async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
        """Raise the fence of a scope; a raise whose answer was lost finds itself there, and gives the token up."""
        raised: tuple[bool, int] | None = None
        async with asyncio.timeout(timeout):
            while raised is None:
                try:
                    async with asyncio.timeout(0.5):
                        raised = await self._ask(lambda: self._database.raise_to(self._who, scope, token))
                except TimeoutError:
                    continue  # asked again, until there is no time left
        rose, highest = raised
        if not rose:
            raise StaleTermError(scope, token, highest)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction: what it writes is committed at its end."""
        connection = Connection()
        yield connection
        if connection.row is not None:
            scope, token = connection.row
            await self._ask(lambda: self._database.commit(self._who, scope, token, connection.locked))

    async def read(self, scope: str, token: int) -> None:
        """Read the state of a scope under a token."""
        await self._ask(lambda: self._database.read(self._who, scope, token))

    async def _run(self, connection: Connection, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        scope, token = str(values["scope"]), values.get("token")
        if token is None:
            return 1, (self._database.highest.get(scope),)
        if not isinstance(token, int):
            raise DatabaseError(f"{token!r} is no token")
        if statement.startswith("INSERT"):
            await self._ask(lambda: self._database.raise_to(self._who, scope, token))
            return 1, None
        count, connection.locked[scope] = await self._ask(lambda: self._database.lock(scope, token))
        return count, None

    def _in_transaction(self, connection: Connection) -> bool:
        return True

    async def _ask(self, request: Callable[[], Any]) -> Any:
        return await self._line.carry("sql", request)
