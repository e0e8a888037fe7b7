"""The store contract on PostgreSQL."""

from __future__ import annotations

import importlib.util
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from locum.clock import seconds
from locum.errors import ConfigurationError, MissingDriverError
from locum.names import check_name
from locum.store import (
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
)
from locum.stores.address import Address
from locum.stores.sight import Sight, missing
from locum.stores.sql.asking import Asking
from locum.stores.sql.incarnations import Incarnations
from locum.stores.sql.records import RecordTable
from locum.stores.sql.sessions import LEAST_TTL, SessionTable
from locum.stores.sql.wording import Wording, wording
from locum.stores.wakeups import POLL_BLIND, POLL_INTERVAL, Wakeups
from locum.threads import apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from locum.clock import Clock

__all__ = ["PostgresStore", "definition", "load", "make_store"]


def load() -> None:
    """Load asyncpg, which takes its time."""
    import locum.stores.sql.connection  # noqa: F401


def make_store(url: str, *, namespace: str, clock: Clock) -> PostgresStore:
    """The store of a `postgresql://` URL: servers, and after the slash the database."""
    address = _address(url)
    database = address.path.strip("/") or address.user
    if not database or "/" in database:
        raise ConfigurationError(f"{address.url} names no database: write it after the slash, as in host/billing")
    return PostgresStore(address, database, schema=_schema_of(address), namespace=namespace, clock=clock)


def definition(url: str) -> list[str]:
    """The statements that make the tables of the store of a URL."""
    return _wording(_schema_of(_address(url))).definition()


def _address(url: str) -> Address:
    address = Address.parse(url, default_port=5432, options=["schema"])
    for package in ("asyncpg", "sqlalchemy"):
        if importlib.util.find_spec(package) is None:
            raise MissingDriverError(address.scheme, package, "postgresql")
    return address


def _schema_of(address: Address) -> str:
    return check_name(address.options.get("schema", "locum"), what="a schema")


class PostgresStore:
    """The connections of one process to a PostgreSQL server.

    Args:
        address: Where it is, and as whom one connects.
        database: The database.
        schema: The schema of our tables.
        namespace: Whose sessions and records these are.
        clock: Measures round trips, and the age of tombstones.
    """

    def __init__(self, address: Address, database: str, *, schema: str, namespace: str, clock: Clock) -> None:
        self.url = address.url
        self.namespace = namespace
        self.call_timeout = 1.0
        self._clock, self._schema = clock, schema
        self._sight = Sight(self.url)
        self._asking = Asking(
            address,
            database,
            schema=schema,
            namespace=namespace,
            sight=self._sight,
            within=lambda: self.call_timeout,
            clock=clock,
        )
        self._lines = self._asking.lines
        self._incarnations = Incarnations(self.url, self._asking)
        self._sessions = SessionTable(self._asking, clock)
        self._records = RecordTable(self._asking, self._sessions)

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the tables and the store if there are none."""
        self._asking.say = await apart("load asyncpg", lambda: _wording(self._schema))
        self._lines.was_there = self._lines.was_there or self.seen is not None
        self._lines.open()
        try:
            found = await self._incarnations.look("open")
            if found is None:
                if not make:
                    raise missing(self.url)
                found = await self._incarnations.make("open", self.seen)
        except BaseException:
            await self.close()
            raise
        self._wakeups = Wakeups(
            self._lines.listening,
            self._asking.subscribe,
            lambda: self.call_timeout,
            pushed=not self._asking.is_pooled,
        )
        self._lines.was_there = True
        if self.seen is None:
            self.seen = found

    async def close(self) -> None:
        """Leave; calls that still run end at once."""
        await self._lines.close()

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        return self._take_up(await self._incarnations.adopt(self.seen, max_ttl=max_ttl))

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        return self._take_up(await self._incarnations.renew(self.seen, max_ttl=max_ttl))

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        if await self._incarnations.lift_quarantine(incarnation):
            return True
        found = await self.sessions(())
        return found.incarnation == incarnation and not found.quarantined

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        return await self._sessions.open(owner, ttl, session_id)

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        await self._sessions.beat(session_id, number)

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._sessions.close(session_id, reason=reason)

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        return await self._sessions.close_if_silent(session_id, beat=beat, reason=reason)

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        return await self._sessions.statuses(ids, lease=False, deadline=self._asking.deadline())

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._records.read(key)

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
        if_empty: str | None = None,
        drop: str | None = None,
    ) -> Record:
        """Compare and set, as one statement."""
        return await self._records.write(
            key,
            value,
            expect=expect,
            session=session,
            if_open=if_open,
            if_gone=if_gone,
            if_empty=if_empty,
            drop=drop,
        )

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._records.delete(key, expect=expect)

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation."""
        return await self._records.under(prefix, after, named)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        async with self._wakeups.subscribe(prefixes, self._lines.demand_open()) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What the server promises, as it was set up when it was last connected to."""
        server, pooled = self._asking.server, self._asking.is_pooled
        return Guarantees(
            one_machine=False,
            guarded_writes=True,
            native_sessions=False,
            pushed_changes=not pooled,
            durable=server is not None and server.syncs,
            least_ttl=LEAST_TTL,
            poll_interval=POLL_BLIND if pooled else POLL_INTERVAL,
        )

    async def health(self) -> Health:
        """Reach it once."""
        begun = self._clock.now()
        rows, _ = await self._asking.look("health", self._asking.say.look)
        took, server = seconds(self._clock.now() - begun), self._asking.server
        assert server is not None  # noqa: S101 - it has answered
        behind = ", behind a pooler" if server.pooled else ""
        weak = "" if server.syncs else " (fenced effects only: fsync or full_page_writes is off)"
        return Health(f"{server.version}{behind}{weak}", took, int(rows[0]["schema"]), server.flaws)

    # -- inside

    def _take_up(self, found: Seen) -> Seen:
        self._sight.adopt(found)
        self._wakeups.tell_all()
        return found


def _wording(schema: str) -> Wording:
    """The statements; to be called beside the event loop: asyncpg is large."""
    import locum.stores.sql.connection  # noqa: F401 - it is needed next

    return wording(schema)
