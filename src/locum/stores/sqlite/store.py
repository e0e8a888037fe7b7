"""The store contract on one SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from locum.clock import NANOSECONDS, seconds
from locum.errors import ConfigurationError, ConflictError, StoreReplacedError
from locum.identity import MachineKey
from locum.names import check_key
from locum.scopes import Scope
from locum.store import (
    ANY,
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    check_session,
    check_value,
    not_empty,
)
from locum.stores.sight import Sight
from locum.stores.sqlite import changes
from locum.stores.sqlite.incarnation import Decide, adopt, begin, current, lift
from locum.stores.sqlite.records import RecordTable
from locum.stores.sqlite.schema import SCHEMA
from locum.stores.sqlite.sessions import Instant, SessionTable
from locum.stores.sqlite.transactions import Transactions
from locum.stores.sqlite.wakeups import Wakeups
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from locum.clock import Clock
    from locum.stores.sqlite.connection import Connection

__all__ = ["SqliteStore", "make_store"]

_POLL_WATCHED: Final = 5.0
_POLL_BLIND: Final = 0.05


def make_store(url: str, *, namespace: str, clock: Clock) -> SqliteStore:
    """The store of a `sqlite:///` URL: three slashes before a relative path, four before an absolute one."""
    parts = urlsplit(url)
    if parts.netloc or len(parts.path) < 2 or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} names no file: write sqlite:///billing.db or sqlite:////var/lib/billing.db")
    return SqliteStore(Path(unquote(parts.path[1:])), namespace=namespace, clock=clock)


class SqliteStore:
    """One connection to a SQLite file that all instances of this machine share.

    Takes and releases are on disk before they are answered (`synchronous=FULL`). Beats and closes of sessions are not:
    a machine that loses them has lost its instances too, and a take that follows a close brings it to disk with itself.

    Args:
        path: The file; made if missing, with two more beside it (`-queue` and `-wake`).
        namespace: Whose sessions and records these are.
        clock: Tells the age of tombstones.
    """

    def __init__(self, path: Path, *, namespace: str, clock: Clock) -> None:
        self.path = path
        self.url = f"sqlite:///{quote(str(path))}"
        self.namespace = namespace
        self.call_timeout = 1.0
        self._clock = clock
        self._boot = MachineKey.of_this_process().boot
        self._sight = Sight(self.url)
        self._sessions, self._records = SessionTable(namespace), RecordTable(namespace)
        self._scope: Scope | None = None

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Open the file, make its tables if it has none."""
        self._transactions = Transactions(self.path, self.url, self._sight, lambda: self.call_timeout)
        self._scope = Scope(f"store {self.path.name}", on_error=_log_failure)
        try:
            found = await self._transactions.open(make=make)
        except BaseException:
            await self.close()
            raise
        if self.seen is None:
            self.seen = found
        wake = self._transactions.wake
        assert wake is not None  # noqa: S101 - it was opened
        self._poll_interval = _POLL_WATCHED if wake.watch_fd is not None else _POLL_BLIND
        self._wakeups = Wakeups(wake, self._changed_since, self._poll_interval)
        self._scope.spawn(self._wakeups.watch(found.revision), name="watch for changes")

    async def close(self) -> None:
        """Close the file."""
        if self._scope is None:
            return
        await self._scope.close()
        self._scope = None
        self._transactions.close()

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        try:
            found = await self._transactions.look()
        except StoreReplacedError:
            return await self._take_up("adopt", adopt, max_ttl)
        self._wakeups.begin_again(found.revision)  # as it was seen: connections and files are as they were
        return found

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        return await self._take_up("renew", begin, max_ttl)

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        return await self._transactions.write("lift_quarantine", lambda db: lift(db, self.url, incarnation))

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        check_session(session_id, owner)
        wanted = max(ttl, round(self.guarantees().least_ttl * NANOSECONDS))

        def work(db: Connection) -> SessionInfo:
            granted = self._sessions.open(db, session_id, owner, wanted, self._now())
            return SessionInfo(session_id, granted, current(db, self.url).id)

        return await self._transactions.write("open_session", work)

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        await self._transactions.write(
            "beat", lambda db: self._sessions.beat(db, session_id, number), durable=False, wake=False
        )

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._transactions.write(
            "close_session", lambda db: self._sessions.close(db, session_id, None, reason, self._now()), durable=False
        )

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""

        def work(db: Connection) -> bool:
            self._sessions.close(db, session_id, beat, reason, self._now())
            return self._sessions.status(db, session_id).is_closed

        return await self._transactions.write("close_if_silent", work, durable=False)

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(ids)

        def work(db: Connection) -> Sessions:
            now = current(db, self.url)
            return Sessions(
                self._sessions.statuses(db, wanted),
                now.revision,
                now.id,
                self._sessions.max_ttl(db),
                now.quarantined,
            )

        return await self._transactions.read("sessions", work)

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._transactions.read("read", lambda db: self._records.read(db, key))

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
        """Compare and set, as one transaction."""
        check_key(key)
        check_value(key, value)

        def work(db: Connection) -> tuple[int | None, Record]:
            found = self._records.demand(db, key, expect)
            for guard in (session, if_open):
                if guard is not None:
                    self._sessions.demand_open(db, guard)
            if if_gone is not None and not self._sessions.status(db, if_gone).is_closed:
                raise ConflictError(key, found, f"the session {if_gone} is not closed")
            if if_empty is not None and not self._records.is_empty(db, if_empty):
                raise not_empty(key, found, if_empty)
            dropped = None if drop is None else self._records.delete(db, drop, ANY)
            return dropped, self._records.put(db, key, value, current=found, session=session)

        dropped, written = await self._transactions.write("write", work)
        if drop is not None and dropped is not None:
            self._wakeups.changed_here(drop, dropped)
        self._wakeups.changed_here(key, written.revision)
        return written

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        revision = await self._transactions.write("delete", lambda db: self._records.delete(db, key, expect))
        if revision is not None:
            self._wakeups.changed_here(key, revision)

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation."""

        def work(db: Connection) -> Listing:
            found = self._records.list(db, prefix, after, named)
            number = len(found) if after is None else self._records.count(db, prefix)
            now = current(db, self.url)
            return Listing(found, now.revision, now.id, number)

        return await self._transactions.read("list", work)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        async with self._wakeups.subscribe(prefixes) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What one SQLite file on one machine promises."""
        return Guarantees(
            one_machine=True,
            guarded_writes=True,
            native_sessions=False,
            pushed_changes=self._poll_interval == _POLL_WATCHED,
            durable=True,
            least_ttl=0.5,
            poll_interval=self._poll_interval,
        )

    async def health(self) -> Health:
        """Reach it once."""
        begun = self._clock.now()
        await self._transactions.read("health", lambda db: None)
        return Health(f"SQLite {sqlite3.sqlite_version}", seconds(self._clock.now() - begun), SCHEMA)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _take_up(self, name: str, decide: Decide, max_ttl: int) -> Seen:
        before = self.seen
        found = await self._transactions.take_up(
            name, lambda db: decide(db, self.url, seen=before, max_ttl=max_ttl, now=self._now())
        )
        self._wakeups.begin_again(found.revision)
        return found

    async def _changed_since(self, revision: int) -> tuple[int, set[str] | None]:
        return await self._transactions.read("changes", lambda db: changes.since(db, self.namespace, revision))

    def _now(self) -> Instant:
        return Instant(self._boot, self._clock.now())


def _log_failure(task: str, error: BaseException) -> None:
    logger("stores.sqlite").error("%s failed: %s", task, error)
