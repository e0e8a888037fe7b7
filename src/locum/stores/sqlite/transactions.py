"""How a call becomes a transaction: its turn, the comparison with what was seen, the commit, the wake-up.

Writers and readers have a thread and a connection each. A connection that an error may have spoiled is thrown away, and
the next call opens another one: so a store works again by itself when a fault is gone.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from locum.errors import OutcomeUnknownError
from locum.stores.sqlite import faults, incarnation
from locum.stores.sqlite.connection import GoneError, connect
from locum.stores.sqlite.files import QueueFile, WakeFile
from locum.stores.sqlite.lane import Lane
from locum.stores.sqlite.schema import prepare
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from locum.store import Seen
    from locum.stores.sight import Sight
    from locum.stores.sqlite.connection import Connection
    from locum.stores.sqlite.incarnation import Incarnation
    from locum.stores.sqlite.lane import Call

__all__ = ["Transactions"]

T = TypeVar("T")

_log = logger("stores.sqlite")
_GRACE: Final = 0.2  # seconds for a thread to end: it may hang in the kernel


class _Link:
    """The connection of one thread: there when it is needed, thrown away when it is spoiled."""

    def __init__(self, path: Path, timeout: Callable[[], float], *, query_only: bool) -> None:
        self._path, self._timeout, self._query_only = path, timeout, query_only
        self.connection: Connection | None = None

    def get(self, *, make: bool = False) -> Connection:
        if self.connection is None:
            connection = connect(self._path, timeout=self._timeout(), make=make)
            if self._query_only:
                connection.execute("PRAGMA query_only = ON")
            self.connection = connection
        return self.connection

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class Transactions:
    """The transactions of one connection to a store, each under a deadline.

    Args:
        path: The file.
        url: The store's URL, for messages.
        sight: What this process has seen of the store.
        timeout: Asked for the seconds that a call may take.
    """

    def __init__(self, path: Path, url: str, sight: Sight, timeout: Callable[[], float]) -> None:
        self._path, self._url, self._sight, self._timeout = path, url, sight, timeout
        self._writing = _Link(path, timeout, query_only=False)
        self._reading = _Link(path, timeout, query_only=True)
        self._queue: QueueFile | None = None
        self.wake: WakeFile | None = None
        hint = faults.behind_a_lock(path)
        self._writer = Lane("locum-writer", url, hint=hint, at_end=self._end_of_writer)
        self._reader = Lane("locum-reader", url, hint=hint, at_end=self._reading.drop)

    # -- the connection as a whole

    async def open(self, *, make: bool) -> Seen:
        """Open the files, make what is missing, bring the schema up to date.

        Args:
            make: Whether a store is made where there is none.

        Returns:
            What is there.
        """

        def work(call: Call[Seen]) -> Seen:
            was_there = self._sight.seen is not None
            with self._told(self._writing, was_there=was_there):
                if not make:
                    faults.demand_store(self._path, self._url)
                faults.demand_place(self._path, self._url, was_there=was_there)
                self._queue = QueueFile(self._path.with_name(self._path.name + "-queue"))
                self.wake = WakeFile(self._path.with_name(self._path.name + "-wake"))
                with self._queue.turn():
                    call.begin()
                    db = self._writing.get(make=True)
                    self._prepare(db)
                    return incarnation.current(db, self._url).seen

        return await self._writer.call("open", work, timeout=self._timeout())

    async def take_up(self, name: str, decide: Callable[[Connection], Incarnation]) -> Seen:
        """Open the files anew, make what is missing, and go on with what `decide` makes of what is there."""

        def work(call: Call[Seen]) -> Seen:
            with self._told(self._writing):
                faults.demand_place(self._path, self._url, was_there=True)
                with self._turn():
                    call.begin()
                    if self._writing.connection is not None:
                        self._writing.connection.clear_away()
                        self._writing.drop()
                    db = self._writing.get(make=True)
                    self._prepare(db)
                    found = self._transact(db, name, lambda: decide(db)).seen
                    self._sight.adopt(found)
                self._touch()
                return found

        # both connections of this process first: as long as one is open, SQLite goes on with its -shm
        await self._reader.call(name, lambda call: self._reading.drop(), timeout=self._timeout())
        return await self._writer.call(name, work, timeout=self._timeout())

    def close(self) -> None:
        """End both threads, with their connections and files."""
        for lane in (self._writer, self._reader):
            lane.close()
        for lane in (self._writer, self._reader):
            lane.join(_GRACE)
        if self.wake is not None:
            self.wake.close()
            self.wake = None

    # -- transactions

    async def write(self, name: str, work: Callable[[Connection], T], *, durable: bool = True, wake: bool = True) -> T:
        """Do something in a transaction that may write; only one does at a time."""

        def transaction(call: Call[T]) -> T:
            with self._told(self._writing):
                with self._turn():
                    seen = self._sight.demand()
                    db = self._writing.get()
                    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    before = db.total_changes

                    def compared() -> tuple[T, Seen]:
                        call.begin()  # only now: the user's own writers know nothing of the queue, and may delay us
                        self._compare(db, seen)
                        return work(db), incarnation.current(db, self._url).seen

                    result, now = self._transact(db, name, compared)
                    self._sight.note(now)
                    changed = db.total_changes > before
                if wake and changed:
                    self._touch()
                return result

        return await self._writer.call(name, transaction, timeout=self._timeout())

    async def read(self, name: str, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that only reads: one snapshot for all of it."""

        def transaction(call: Call[T]) -> T:
            with self._told(self._reading):
                seen = self._sight.demand()
                db = self._reading.get()
                db.execute("BEGIN")
                try:
                    found = self._compare(db, seen)
                    result = work(db)
                finally:
                    _roll_back(db)
                self._sight.note(found)
                return result

        return await self._reader.call(name, transaction, timeout=self._timeout())

    async def look(self) -> Seen:
        """What is there, which is as it was seen."""
        return await self.read("look", lambda db: incarnation.current(db, self._url).seen)

    # -- inside

    def _prepare(self, db: Connection) -> None:
        seen = self._sight.seen
        prepare(db, self._url, seen=seen.revision if seen else None)

    def _compare(self, db: Connection, seen: Seen | None) -> Seen:
        """What the transaction finds: as it was seen, in the files that are in their places (R24)."""
        found = incarnation.current(db, self._url).seen
        missing = db.missing()  # after the first read: only then are all of the files open
        if missing:
            raise self._sight.replaced(missing)
        self._sight.compare(seen, found)
        return found

    def _transact(self, db: Connection, name: str, work: Callable[[], T]) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._commit(db, name)
        finally:
            _roll_back(db)
        missing = db.missing()
        if missing:  # it is written, but perhaps into a file that was deleted a moment ago
            self._sight.replaced(missing)
            raise OutcomeUnknownError(self._url, name, missing)
        return result

    def _commit(self, db: Connection, name: str) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                # it may be on disk, and be found by a recovery
                raise OutcomeUnknownError(self._url, name, faults.sentence(error, self._path)) from error
            raise

    @contextmanager
    def _told(self, link: _Link, *, was_there: bool = True) -> Iterator[None]:
        """What SQLite and the kernel say is told in our words; a connection that may be spoiled is thrown away."""
        try:
            yield
        except OutcomeUnknownError as error:
            if error.__cause__ is not None:
                link.drop()
            raise
        except sqlite3.Error as error:
            if faults.spoils(error):
                link.drop()
            raise faults.in_words(error, self._path, self._url, was_there=was_there) from error
        except GoneError as error:
            raise self._sight.replaced(str(error)) from error
        except OSError as error:
            raise faults.in_words(error, self._path, self._url, was_there=was_there) from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        assert self._queue is not None  # noqa: S101 - every call comes after `open`
        with self._queue.turn():
            yield

    def _touch(self) -> None:
        try:
            if self.wake is not None:
                self.wake.touch()
        except OSError as error:  # what was committed is; whoever waits looks by itself, a little later
            _log.debug("nobody was woken: %s", error)

    def _end_of_writer(self) -> None:
        self._writing.drop()
        if self._queue is not None:
            self._queue.close()


def _roll_back(db: Connection) -> None:
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error as error:  # why it is rolled back says more
        _log.debug("a transaction was not rolled back: %s", error)
