"""The store contract on one SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from locum.clock import NANOSECONDS, seconds
from locum.errors import ConfigurationError, ConflictError, OutcomeUnknownError, SessionClosedError
from locum.identity import MachineKey
from locum.names import check_key
from locum.scopes import Scope
from locum.store import (
    ABSENT,
    ANY,
    MAX_VALUE,
    Change,
    Expect,
    Guarantees,
    Health,
    Listing,
    Record,
    SessionInfo,
    Sessions,
    SessionState,
    SessionStatus,
)
from locum.stores.sqlite.files import QueueFile, WakeFile
from locum.stores.sqlite.lane import Call, Lane
from locum.stores.sqlite.schema import SCHEMA, prepare
from locum.stores.sqlite.wakeups import Wakeups
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from locum.clock import Clock

__all__ = ["SqliteStore", "make_store"]

T = TypeVar("T")

_POLL_WATCHED: Final = 5.0
_POLL_BLIND: Final = 0.05
_RING: Final = 4096  # changes that a wake-up can still name
_TOMBSTONE_AGE: Final = 24 * 3600 * NANOSECONDS
_RECORD: Final = "SELECT key, value, revision, created, session FROM locum_records WHERE namespace = ?"


def make_store(url: str, *, namespace: str, clock: Clock) -> SqliteStore:
    """The store of a `sqlite:///` URL: three slashes before a relative path, four before an absolute one."""
    parts = urlsplit(url)
    if parts.netloc or len(parts.path) < 2 or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} names no file: write sqlite:///billing.db or sqlite:////var/lib/billing.db")
    return SqliteStore(Path(unquote(parts.path[1:])), namespace=namespace, clock=clock)


class SqliteStore:
    """One connection to a SQLite file that all instances of this machine share.

    Takes, releases and closes are on disk before they are answered (`synchronous=FULL`); beats are not, since a machine
    that loses them has lost its instances too.

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
        self._scope: Scope | None = None

    async def open(self) -> None:
        """Open the file, make its tables if it has none."""
        if not self.path.parent.is_dir():
            raise ConfigurationError(f"the folder {self.path.parent} of the store does not exist: make it first")
        try:
            self._queue = QueueFile(self.path.with_name(self.path.name + "-queue"))
            self._wake = WakeFile(self.path.with_name(self.path.name + "-wake"))
        except OSError as error:
            raise ConfigurationError(
                f"the store {self.path} cannot be used: {error}; check the folder's rights"
            ) from error
        self._poll_interval = _POLL_WATCHED if self._wake.watch_fd is not None else _POLL_BLIND
        self._writer = Lane("locum-writer", self.url, self._connect_writer)
        self._reader = Lane("locum-reader", self.url, self._connect_reader)
        self._wakeups = Wakeups(self._wake, self._changed_since, self._poll_interval)
        self._scope = Scope(f"store {self.path.name}", on_error=_log_failure)
        try:
            await self._writer.call("open", self._prepare, timeout=self.call_timeout)
            revision = await self._read("open", _revision)
        except BaseException:
            await self.close()
            raise
        self._watch = self._scope.spawn(self._wakeups.watch(revision), name="watch for changes")

    async def close(self) -> None:
        """Close the file."""
        if self._scope is None:
            return
        await self._scope.close()
        self._scope = None
        for lane in (self._writer, self._reader):
            lane.close()
        for lane in (self._writer, self._reader):
            lane.join(0.2)
        self._wake.close()
        self._queue.close()

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        granted = max(ttl, round(self.guarantees().least_ttl * NANOSECONDS))

        def work(db: sqlite3.Connection) -> SessionInfo:
            found = db.execute(
                "SELECT closed, reason, ttl FROM locum_sessions WHERE namespace = ? AND id = ?",
                (self.namespace, session_id),
            ).fetchone()
            (incarnation,) = db.execute("SELECT incarnation FROM locum_store").fetchone()
            if found:
                if found[0]:
                    raise SessionClosedError(session_id, _text(found[1]))
                return SessionInfo(session_id, found[2], incarnation)
            db.execute(
                "INSERT INTO locum_namespaces VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET max_ttl = max(max_ttl, excluded.max_ttl)",
                (self.namespace, granted),
            )
            db.execute(
                "INSERT INTO locum_sessions (namespace, id, owner, ttl, beat) VALUES (?, ?, ?, ?, 0)",
                (self.namespace, session_id, owner, granted),
            )
            self._changed(db, f"session/{session_id}")
            self._forget_old_tombstones(db)
            return SessionInfo(session_id, granted, incarnation)

        return await self._write("open_session", work)

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""

        def work(db: sqlite3.Connection) -> None:
            done = db.execute(
                "UPDATE locum_sessions SET beat = ? WHERE namespace = ? AND id = ? AND NOT closed AND beat < ?",
                (number, self.namespace, session_id, number),
            )
            if done.rowcount:
                return
            self._demand_open(db, session_id)
            raise ConflictError(
                f"session/{session_id}", None, f"its beat {number} is not newer than the last: a twin beats for it"
            )

        await self._write("beat", work, durable=False, wake=False)

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._write("close_session", lambda db: self._close(db, session_id, None, reason))

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""

        def work(db: sqlite3.Connection) -> bool:
            self._close(db, session_id, beat, reason)
            return self._session(db, session_id).is_closed

        return await self._write("close_if_silent", work)

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = None if ids is None else list(ids)

        def work(db: sqlite3.Connection) -> Sessions:
            incarnation, revision = db.execute("SELECT incarnation, revision FROM locum_store").fetchone()
            longest = db.execute(
                "SELECT max_ttl FROM locum_namespaces WHERE namespace = ?", (self.namespace,)
            ).fetchone()
            if wanted is None:
                rows = db.execute(f"{_SESSION} AND NOT closed", (self.namespace,)).fetchall()
                found = {row[0]: _status(row) for row in rows}
            else:
                found = {session_id: self._session(db, session_id) for session_id in wanted}
            return Sessions(found, revision, incarnation, longest[0] if longest else 0)

        return await self._read("sessions", work)

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._read("read", lambda db: self._record(db, key))

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
        """Compare and set, as one transaction."""
        check_key(key)
        if len(value) > MAX_VALUE:
            raise ConfigurationError(f"the value of {key} has {len(value)} bytes; a record holds at most {MAX_VALUE}")

        def work(db: sqlite3.Connection) -> Record:
            current = self._demand(db, key, expect)
            for guard in (session, if_open):
                if guard is not None:
                    self._demand_open(db, guard)
            if if_gone is not None and not self._session(db, if_gone).is_closed:
                raise ConflictError(key, current, f"the session {if_gone} is not closed")
            revision = self._changed(db, key)
            created = current.created if current else revision
            db.execute(
                "INSERT OR REPLACE INTO locum_records (namespace, key, value, revision, created, session)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self.namespace, key, value, revision, created, session),
            )
            return Record(key, value, revision, created, session)

        return await self._write("write", work)

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""

        def work(db: sqlite3.Connection) -> None:
            if self._record(db, key) is None:
                return
            self._demand(db, key, expect)
            db.execute("DELETE FROM locum_records WHERE namespace = ? AND key = ?", (self.namespace, key))
            self._changed(db, key)

        await self._write("delete", work)

    async def list(self, prefix: str) -> Listing:
        """The records under a prefix in order of creation."""

        def work(db: sqlite3.Connection) -> Listing:
            rows = db.execute(
                f"{_RECORD} AND key >= ? AND key < ? ORDER BY created",
                (self.namespace, prefix, prefix + "\U0010ffff"),
            ).fetchall()
            return Listing([Record(*row) for row in rows], _revision(db))

        return await self._read("list", work)

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        async with self._wakeups.subscribe(prefixes) as changes:
            yield changes

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
        await self._read("health", _revision)
        return Health(f"SQLite {sqlite3.sqlite_version}", seconds(self._clock.now() - begun), SCHEMA)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _write(
        self, name: str, work: Callable[[sqlite3.Connection], T], *, durable: bool = True, wake: bool = True
    ) -> T:
        def transaction(db: sqlite3.Connection, call: Call[T]) -> T:
            with self._queue.turn():
                db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                db.execute("BEGIN IMMEDIATE")
                try:
                    call.begin()  # only now: the user's own writers know nothing of the queue, and may keep us waiting
                    before = db.total_changes
                    result = work(db)
                    changed = db.total_changes > before
                    self._commit(db, name)
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            if wake and changed:
                self._wake.touch()
            return result

        return await self._writer.call(name, transaction, timeout=self.call_timeout)

    def _commit(self, db: sqlite3.Connection, name: str) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                raise OutcomeUnknownError(self.url, name) from error  # it may be on disk, and be found after a recovery
            raise

    async def _read(self, name: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(db: sqlite3.Connection, call: Call[T]) -> T:
            db.execute("BEGIN")  # one snapshot for all that is read
            try:
                return work(db)
            finally:
                db.execute("COMMIT")

        return await self._reader.call(name, transaction, timeout=self.call_timeout)

    def _connect_writer(self) -> sqlite3.Connection:
        return self._connect()

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=self.call_timeout, check_same_thread=True)

    def _prepare(self, db: sqlite3.Connection, call: Call[None]) -> None:
        with self._queue.turn():
            call.begin()
            try:
                prepare(db, self.url)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                    raise
                raise ConfigurationError(f"{self.path} is no SQLite database: name another file") from error

    async def _changed_since(self, revision: int) -> tuple[int, set[str] | None]:
        def work(db: sqlite3.Connection) -> tuple[int, set[str] | None]:
            latest = _revision(db)
            if latest - revision > _RING // 2:
                return latest, None
            rows = db.execute(
                "SELECT key FROM locum_changes WHERE revision > ? AND namespace = ?", (revision, self.namespace)
            ).fetchall()
            return latest, {key for (key,) in rows}

        return await self._read("changes", work)

    def _changed(self, db: sqlite3.Connection, key: str) -> int:
        """Count a change of a key; the new revision."""
        (revision,) = db.execute("UPDATE locum_store SET revision = revision + 1 RETURNING revision").fetchone()
        db.execute("INSERT INTO locum_changes VALUES (?, ?, ?)", (revision, self.namespace, key))
        if revision % (_RING // 16) == 0:
            db.execute("DELETE FROM locum_changes WHERE revision <= ?", (revision - _RING,))
        return int(revision)

    def _close(self, db: sqlite3.Connection, session_id: str, beat: int | None, reason: bytes) -> None:
        done = db.execute(
            "UPDATE locum_sessions SET closed = 1, reason = ?, closed_boot = ?, closed_at = ?"
            " WHERE namespace = ? AND id = ? AND NOT closed AND (? IS NULL OR beat = ?)",
            (reason, self._boot, self._clock.now(), self.namespace, session_id, beat, beat),
        )
        if not done.rowcount:
            return
        bound = db.execute(
            "DELETE FROM locum_records WHERE namespace = ? AND session = ? RETURNING key", (self.namespace, session_id)
        ).fetchall()
        for (key,) in [(f"session/{session_id}",), *bound]:
            self._changed(db, key)

    def _forget_old_tombstones(self, db: sqlite3.Connection) -> None:
        """Forget tombstones that are a day old for certain, and that no record names (R1).

        Of another boot than this one they are as old as this boot's clock says, at the least.
        """
        now = self._clock.now()
        db.execute(
            "DELETE FROM locum_sessions AS s WHERE namespace = ? AND closed"
            " AND (CASE WHEN closed_boot = ? THEN ? - closed_at ELSE ? END) > ?"
            " AND NOT EXISTS"
            " (SELECT 1 FROM locum_records AS r WHERE r.namespace = s.namespace AND instr(r.value, s.id))",
            (self.namespace, self._boot, now, now, _TOMBSTONE_AGE),
        )

    def _demand(self, db: sqlite3.Connection, key: str, expect: Expect) -> Record | None:
        """The current record, which is as expected."""
        current = self._record(db, key)
        if expect is ANY:
            return current
        if expect is ABSENT:
            if current is not None:
                raise ConflictError(key, current, "it exists already")
        elif current is None or current.revision != expect:
            raise ConflictError(key, current)
        return current

    def _demand_open(self, db: sqlite3.Connection, session_id: str) -> None:
        status = self._session(db, session_id)
        if not status.is_open:
            raise SessionClosedError(session_id, _text(status.reason))

    def _record(self, db: sqlite3.Connection, key: str) -> Record | None:
        row = db.execute(f"{_RECORD} AND key = ?", (self.namespace, key)).fetchone()
        return Record(*row) if row else None

    def _session(self, db: sqlite3.Connection, session_id: str) -> SessionStatus:
        row = db.execute(f"{_SESSION} AND id = ?", (self.namespace, session_id)).fetchone()
        return _status(row) if row else SessionStatus(session_id, SessionState.UNKNOWN)


_SESSION: Final = "SELECT id, owner, ttl, beat, closed, reason FROM locum_sessions WHERE namespace = ?"


def _status(row: tuple[str, bytes, int, int, int, bytes]) -> SessionStatus:
    session_id, owner, ttl, beat, closed, reason = row
    return SessionStatus(session_id, SessionState.CLOSED if closed else SessionState.OPEN, owner, ttl, beat, reason)


def _revision(db: sqlite3.Connection) -> int:
    (revision,) = db.execute("SELECT revision FROM locum_store").fetchone()
    return int(revision)


def _text(reason: bytes) -> str:
    return reason.decode("utf-8", "replace")


def _log_failure(task: str, error: BaseException) -> None:
    logger("stores.sqlite").error("%s failed: %s", task, error)
