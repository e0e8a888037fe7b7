"""The store contract on PostgreSQL."""

from __future__ import annotations

import importlib.util
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from locum.clock import NANOSECONDS, seconds
from locum.errors import (
    ConfigurationError,
    ConflictError,
    MissingDriverError,
    SchemaError,
    SessionClosedError,
    StoreError,
    StoreUnavailableError,
)
from locum.identity import MachineKey
from locum.names import check_key, check_name, random_id
from locum.scopes import Scope
from locum.store import (
    ABSENT,
    ANY,
    INCARNATION,
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    SessionState,
    SessionStatus,
    check_session,
    check_value,
)
from locum.stores.address import Address
from locum.stores.link import Link
from locum.stores.sight import Sight, difference, is_successor, missing, revision_above
from locum.stores.sql.channels import channels
from locum.stores.wakeups import POLL_BLIND, POLL_INTERVAL, Wakeups
from locum.telemetry import logger
from locum.threads import apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from locum.clock import Clock
    from locum.stores.sql.connection import PostgresConnection
    from locum.stores.sql.server import Server
    from locum.stores.sql.statements import Statement, Statements

__all__ = ["PostgresStore", "definition", "load", "make_store"]

_log = logger("stores.sql")
_LEAST_TTL: Final = 0.5
_TOMBSTONE_AGE: Final = 24 * 3600  # seconds
_CLOSED: Final = b"was closed: the store has begun a new incarnation"
_LONGEST: Final = 2  # call timeouts after which the server gives a statement up that nobody waits for any more
_PAST_ASCII: Final = "\x7f"


def load() -> None:
    """Load SQLAlchemy and asyncpg, which take their time."""
    import locum.stores.sql.connection
    import locum.stores.sql.statements  # noqa: F401


def make_store(url: str, *, namespace: str, clock: Clock) -> PostgresStore:
    """The store of a `postgresql://` URL: servers, and after the slash the database."""
    address = _address(url)
    database = address.path.strip("/") or address.user
    if not database or "/" in database:
        raise ConfigurationError(f"{address.url} names no database: write it after the slash, as in host/billing")
    return PostgresStore(address, database, schema=_schema_of(address), namespace=namespace, clock=clock)


def definition(url: str) -> list[str]:
    """The statements that make the tables of the store of a URL."""
    return _statements(_schema_of(_address(url))).definition()


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
        self._address, self._database, self._clock = address, database, clock
        self._key = MachineKey.of_this_process()
        self._sight = Sight(self.url)
        self._schema = schema
        self._everywhere, self._space = channels(schema, namespace)
        self._server: Server | None = None
        self._was_there = False
        self._scope: Scope | None = None

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the tables and the store if there are none."""
        self._say = await apart("load SQLAlchemy", lambda: _statements(self._schema))
        self._was_there = self._was_there or self.seen is not None
        self._leases, self._others, listening = (self._link() for _ in range(3))
        self._links = (self._leases, self._others, listening)
        self._scope = Scope(f"store {self.url}", on_error=_log_failure)
        try:
            found = await self._look("open")
            if found is None:
                if not make:
                    raise missing(self.url)
                found = await self._make("open")
        except BaseException:
            await self.close()
            raise
        self._wakeups = Wakeups(listening, self._subscribe, lambda: self.call_timeout, pushed=not self._is_pooled)
        self._was_there = True
        if self.seen is None:
            self.seen = found

    async def close(self) -> None:
        """Leave; calls that still run end at once."""
        if self._scope is None:
            return
        for link in self._links:
            await link.close()
        await self._scope.close()
        self._scope = None

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        before = self.seen
        while True:
            found = await self._look("adopt") or await self._make("adopt")
            if difference(before, found) is None:
                return self._take_up(found)
            if before is not None and is_successor(found, before):
                followed = await self._as_it_is(
                    "adopt", self._say.follow, changes=True, found=found.incarnation, max_ttl=max_ttl
                )
                if followed and followed[0]["told"]:
                    return self._take_up(found)
                continue
            begun = await self._begin("adopt", found, before, max_ttl)
            if begun is not None:
                return begun

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        while True:
            found = await self._look("renew") or await self._make("renew")
            begun = await self._begin("renew", found, self.seen, max_ttl)
            if begun is not None:
                return begun

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        rows = await self._ask(
            "lift_quarantine", self._say.lift, changes=True, which=incarnation, incarnation_key=INCARNATION
        )
        if rows:
            self._note(rows[0]["revision"])
            return True
        found = await self.sessions(())
        return found.incarnation == incarnation and not found.quarantined

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        check_session(session_id, owner)
        granted = max(ttl, round(_LEAST_TTL * NANOSECONDS))
        deadline = self._deadline()
        while True:
            rows = await self._ask(
                "open_session",
                self._say.open_session,
                changes=True,
                lease=True,
                deadline=deadline,
                id=session_id,
                session_key=f"session/{session_id}",
                owner=owner,
                ttl=granted,
                nothing=b"",
            )
            if rows:
                self._note(rows[0]["revision"])
                await self._forget_old_tombstones(deadline)
                return SessionInfo(session_id, granted, self._incarnation())
            status = (await self._statuses([session_id], lease=True, deadline=deadline)).by_id[session_id]
            if status.is_closed:
                raise _closed(status)
            if status.is_open:
                return SessionInfo(session_id, status.ttl, self._incarnation())

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        deadline = self._deadline()
        rows = await self._ask(
            "beat", self._say.beat, changes=True, lease=True, deadline=deadline, id=session_id, number=number
        )
        if rows:
            return
        status = (await self._statuses([session_id], lease=True, deadline=deadline)).by_id[session_id]
        if not status.is_open:
            raise _closed(status)
        raise ConflictError(
            f"session/{session_id}", None, f"its beat {number} is not newer than the last: a twin beats for it"
        )

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        deadline = self._deadline()
        while not await self._close(session_id, None, reason, deadline):
            status = (await self._statuses([session_id], lease=True, deadline=deadline)).by_id[session_id]
            if not status.is_open:
                return

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        deadline = self._deadline()
        if await self._close(session_id, beat, reason, deadline):
            return True
        return (await self._statuses([session_id], lease=True, deadline=deadline)).by_id[session_id].is_closed

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        return await self._statuses(None if ids is None else list(ids), lease=False, deadline=self._deadline())

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._read(key, self._deadline(), call="read")

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
    ) -> Record:
        """Compare and set, as one statement."""
        self._check(key)
        check_value(key, value)
        deadline = self._deadline()
        guards = {"session": session, "if_open": if_open}
        statement = self._say.write(
            "any" if expect is ANY else "absent" if expect is ABSENT else "at",
            [name for name, wanted in guards.items() if wanted is not None],
            gone=if_gone is not None,
        )
        while True:
            rows = await self._ask(
                "write",
                statement,
                changes=True,
                deadline=deadline,
                key=key,
                value=value,
                expected=expect if isinstance(expect, int) else 0,
                session=session,
                if_open=if_open,
                if_gone=if_gone,
            )
            if rows:
                self._note(rows[0]["revision"])
                return Record(key, value, rows[0]["revision"], rows[0]["created"], session)
            await self._demand(key, expect, [session, if_open], if_gone, deadline)

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        self._check(key)
        deadline = self._deadline()
        at = expect if isinstance(expect, int) else None
        while True:
            if expect is not ABSENT:
                rows = await self._ask(
                    "delete",
                    self._say.delete if at is None else self._say.delete_at,
                    changes=True,
                    deadline=deadline,
                    key=key,
                    expected=at,
                )
                if rows:
                    self._note(rows[0]["revision"])
                    return
            current = await self._read(key, deadline, call="delete")
            if current is None:
                return
            if expect is ABSENT:
                raise ConflictError(key, current, "it exists already")
            if at is not None and current.revision != at:
                raise ConflictError(key, current)

    async def list(self, prefix: str) -> Listing:
        """The records under a prefix in order of creation."""
        rows, found = await self._look_at("list", self._say.list, first=prefix, last=prefix + _PAST_ASCII)
        return Listing([one for row in rows if (one := _record(row)) is not None], found.revision)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        if self._scope is None:
            raise StoreUnavailableError(self.url, "this connection is not open")
        async with self._wakeups.subscribe(prefixes, self._scope) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What the server promises, as it was set up when it was last connected to."""
        server, pooled = self._server, self._is_pooled
        return Guarantees(
            one_machine=False,
            guarded_writes=True,
            native_sessions=False,
            pushed_changes=not pooled,
            durable=server is not None and server.syncs,
            least_ttl=_LEAST_TTL,
            poll_interval=POLL_BLIND if pooled else POLL_INTERVAL,
        )

    async def health(self) -> Health:
        """Reach it once."""
        begun = self._clock.now()
        rows, _ = await self._look_at("health", self._say.look)
        took = seconds(self._clock.now() - begun)
        assert self._server is not None  # noqa: S101 - it has answered
        behind = ", behind a pooler" if self._server.pooled else ""
        weak = "" if self._server.syncs else " (fenced effects only: fsync or full_page_writes is off)"
        version = f"{self._server.version}{behind}{weak}"
        return Health(version, took, int(rows[0]["schema"]), self._server.flaws)

    # -- inside: calls ----------------------------------------------------------------------------------------------

    def _deadline(self) -> int:
        return self._clock.now() + round(self.call_timeout * NANOSECONDS)

    async def _ask(
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

    async def _as_it_is(self, call: str, statement: Statement, *, changes: bool, **values: object) -> Sequence[Any]:
        """The same, for one who compares nothing."""
        return await self._run(call, statement, values, changes=changes, lease=False, deadline=None)

    async def _run(
        self,
        call: str,
        statement: Statement,
        values: Mapping[str, object],
        *,
        changes: bool,
        lease: bool,
        deadline: int | None,
    ) -> Sequence[Any]:
        from asyncpg import UniqueViolationError

        from locum.stores.sql.faults import is_gone

        given = {"namespace": self.namespace, "space": self._space, "everywhere": self._everywhere, **values}

        async def work(connection: PostgresConnection) -> Sequence[Any]:
            self._server = connection.server
            try:
                return await connection.fetch(statement, given)
            except UniqueViolationError:  # somebody was quicker: nothing was done
                return ()
            except Exception as error:
                if is_gone(error) and self.seen is not None:
                    raise self._sight.replaced("it is gone") from None
                raise

        return await self._link_for(lease).call(call, work, timeout=self._left(deadline), changes=changes)

    @property
    def _is_pooled(self) -> bool:
        return self._server is not None and self._server.pooled

    def _link_for(self, lease: bool) -> Link[PostgresConnection]:
        if self._scope is None:
            raise StoreUnavailableError(self.url, "this connection is not open")
        return self._leases if lease else self._others

    def _left(self, deadline: int | None) -> float:
        return self.call_timeout if deadline is None else max(seconds(deadline - self._clock.now()), 0.0)

    def _link(self) -> Link[PostgresConnection]:
        from locum.stores.sql.connection import PostgresConnection
        from locum.stores.sql.faults import in_words

        async def connect() -> PostgresConnection:
            longest = _LONGEST * self.call_timeout
            return await PostgresConnection.make(self._address, database=self._database, longest=longest)

        return Link(
            self.url,
            connect=connect,
            in_words=lambda error: in_words(error, self.url),
            was_there=lambda: self._was_there,
            clock=self._clock,
        )

    async def _subscribe(self, connection: PostgresConnection) -> None:
        await connection.subscribe(self._everywhere, self._space)

    # -- inside: what was seen, and what is there --------------------------------------------------------------------

    def _incarnation(self) -> str:
        seen = self.seen
        assert seen is not None  # noqa: S101 - every call comes after `open`
        return seen.incarnation

    def _note(self, revision: int) -> None:
        """Remember the revision of a change, which was made to the store that was seen."""
        self._sight.note(Seen(self._incarnation(), revision))

    async def _look_at(
        self, call: str, statement: Statement, *, lease: bool = False, deadline: int | None = None, **values: object
    ) -> tuple[Sequence[Any], Seen]:
        """What a question finds, and what it shows of the store, which must be the one that was seen before it.

        Raises:
            StoreReplacedError: It is another one.
        """
        seen = self._sight.demand()
        rows = await self._ask(call, statement, changes=False, lease=lease, deadline=deadline, **values)
        if not rows:
            raise self._sight.replaced("it is gone", seen=seen)
        found = Seen(rows[0]["incarnation"], rows[0]["revision"])
        self._sight.compare(seen, found)
        self._sight.note(found)
        return rows, found

    async def _look(self, call: str) -> Seen | None:
        """What is there, whatever was seen; `None` if nothing is.

        Raises:
            SchemaError: It was written by a newer release.
        """
        from locum.stores.sql.faults import is_gone

        async def work(connection: PostgresConnection) -> Sequence[Any]:
            self._server = connection.server
            try:
                return await connection.fetch(self._say.look, {})
            except Exception as error:
                if is_gone(error):
                    return ()
                raise

        rows = await self._link_for(lease=False).call(call, work, timeout=self.call_timeout, changes=False)
        if not rows:
            return None
        from locum.stores.sql.tables import SCHEMA

        if rows[0]["least_reader"] > SCHEMA:
            raise SchemaError(self.url, rows[0]["least_reader"], SCHEMA)
        return Seen(rows[0]["incarnation"], rows[0]["revision"])

    async def _make(self, call: str) -> Seen:
        """Make the tables and a store; in quarantine, if one was there before (R25). Whoever comes second finds it."""
        from locum.stores.sql.faults import is_gone
        from locum.stores.sql.tables import OPEN, QUARANTINE

        seen = self.seen
        state, revision = (OPEN, 0) if seen is None else (QUARANTINE, revision_above(seen.revision))
        row = self._say.first_row(random_id(), revision, state)
        turn = f"SELECT pg_advisory_xact_lock(hashtext('{self._space}'))"  # two who make the same at once: one fails
        script = ";\n".join([turn, *self._say.definition(), row])

        async def work(connection: PostgresConnection) -> None:
            try:
                await connection.run(row)  # an owner may have made the tables, and this role may make none
            except Exception as error:
                if not is_gone(error):
                    raise
                await connection.run(script)

        await self._link_for(lease=False).call(call, work, timeout=self.call_timeout, changes=True)
        made = await self._look(call)
        if made is None:
            raise StoreUnavailableError(self.url, "what was just made is gone again; see who else writes to it")
        return made

    async def _begin(self, call: str, found: Seen, before: Seen | None, max_ttl: int) -> Seen | None:
        """Begin a new incarnation in the place of the one found; `None` if somebody else was first."""
        above = revision_above(found.revision, before.revision if before else 0)
        rows = await self._as_it_is(
            call,
            self._say.begin,
            changes=True,
            found=found.incarnation,
            new=random_id(),
            above=above,
            max_ttl=max_ttl,
            reason=_CLOSED,
        )
        return self._take_up(Seen(rows[0]["incarnation"], rows[0]["revision"])) if rows else None

    def _take_up(self, found: Seen) -> Seen:
        self._sight.adopt(found)
        self._wakeups.tell_all()
        return found

    async def _statuses(self, ids: Sequence[str] | None, *, lease: bool, deadline: int) -> Sessions:
        wanted = None if ids is None else list(dict.fromkeys(ids))
        padded: list[str] = []
        if wanted is not None:  # few statements serve all numbers of ids
            padded = [*wanted, *[""] * ((1 << max(len(wanted) - 1, 0).bit_length()) - len(wanted))]
        rows, found = await self._look_at(
            "sessions",
            self._say.statuses(None if wanted is None else len(padded)),
            lease=lease,
            deadline=deadline,
            **{f"id{at}": one for at, one in enumerate(padded)},
        )
        by_id = {row["id"]: _status(row) for row in rows if row["id"] is not None}
        if wanted is not None:
            by_id = {one: by_id.get(one) or SessionStatus(one, SessionState.UNKNOWN) for one in wanted}
        quarantined = rows[0]["state"] != "open"
        return Sessions(by_id, found.revision, found.incarnation, int(rows[0]["max_ttl"]), quarantined)

    async def _close(self, session_id: str, beat: int | None, reason: bytes, deadline: int) -> bool:
        rows = await self._ask(
            "close_session" if beat is None else "close_if_silent",
            self._say.close if beat is None else self._say.close_if_silent,
            changes=True,
            lease=True,
            deadline=deadline,
            id=session_id,
            session_key=f"session/{session_id}",
            beat=beat,
            reason=reason,
        )
        if rows:
            self._note(rows[0]["revision"])
        return bool(rows)

    async def _read(self, key: str, deadline: int, *, call: str) -> Record | None:
        rows, _ = await self._look_at(call, self._say.read, deadline=deadline, key=key)
        return _record(rows[0])

    async def _demand(
        self, key: str, expect: Expect, open_ids: Sequence[str | None], gone: str | None, deadline: int
    ) -> None:
        """Say why a write was refused; return if it would not be any more.

        Raises:
            ConflictError: The record is not as expected, or a session is not closed.
            SessionClosedError: A session is not open.
        """
        current = await self._read(key, deadline, call="write")
        if expect is ABSENT and current is not None:
            raise ConflictError(key, current, "it exists already")
        if isinstance(expect, int) and (current is None or current.revision != expect):
            raise ConflictError(key, current)
        named = [one for one in (*open_ids, gone) if one is not None]
        if not named:
            return
        found = (await self._statuses(named, lease=False, deadline=deadline)).by_id
        for one in open_ids:
            if one is not None and not found[one].is_open:
                raise _closed(found[one])
        if gone is not None and not found[gone].is_closed:
            raise ConflictError(key, current, f"the session {gone} is not closed")

    async def _forget_old_tombstones(self, deadline: int) -> None:
        """Forget the tombstones that are old enough; that may as well fail."""
        clock = f"{self._key.boot}/{self._key.time_namespace}"
        now = self._clock.now() // NANOSECONDS
        asked = {"changes": True, "lease": True, "deadline": deadline, "clock": clock, "now": now}
        try:
            await self._ask("forget", self._say.watch_generation, **asked)  # type: ignore[arg-type]
            if await self._ask("forget", self._say.next_generation, age=_TOMBSTONE_AGE, **asked):  # type: ignore[arg-type]
                for statement in (self._say.forget_gone, self._say.forget):
                    await self._ask("forget", statement, **asked)  # type: ignore[arg-type]
        except StoreError as error:
            _log.debug("no tombstone was forgotten: %s", error)

    def _check(self, key: str) -> None:
        from locum.stores.sql.tables import LONGEST_KEY

        check_key(key)
        if len(key) > LONGEST_KEY:
            raise ConfigurationError(f"the key {key[:60]}… has {len(key)} characters; this store takes {LONGEST_KEY}")


def _statements(schema: str) -> Statements:
    """The statements; to be called beside the event loop: SQLAlchemy and asyncpg are large."""
    import locum.stores.sql.connection  # noqa: F401 - it is needed next
    from locum.stores.sql.statements import statements

    return statements(schema)


def _record(row: Mapping[str, Any]) -> Record | None:
    if row["key"] is None:
        return None
    return Record(row["key"], row["value"], row["at"], row["created"], row["session"])


def _status(row: Mapping[str, Any]) -> SessionStatus:
    state = SessionState.CLOSED if row["closed"] else SessionState.OPEN
    reason = row["reason"] if row["buried"] or not row["closed"] else _CLOSED
    return SessionStatus(row["id"], state, row["owner"], row["ttl"], row["beat"], reason)


def _closed(status: SessionStatus) -> SessionClosedError:
    return SessionClosedError(status.id, status.reason.decode("utf-8", "replace"))


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed: %s", task, error)
