"""A database in a SQLite file: one thread, one connection, one transaction after another."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from locum.databases.database import Preparing, wakes_others
from locum.errors import OutcomeUnknownError, StoreError, StoreUnavailableError
from locum.scopes import Scope, told_by_result
from locum.stores.sqlite.files import QueueFile, WakeFile
from locum.stores.sqlite.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Dialect

    from locum.databases.statement import Statement
    from locum.stores.sqlite.lane import Call

__all__ = ["SqliteDatabase"]

T = TypeVar("T")
L = TypeVar("L", bound=Preparing)
_BEGIN: Final = "locum_begin"
_GRACE: Final = 0.2  # seconds for the thread to end: it may hang in the kernel
_PAUSE: Final = 0.005  # seconds between two times that others are told
_SHARE: Final = 0.8  # of the deadline: SQLite gives up first, and says why


class SqliteDatabase(Generic[L]):
    """A database in a file.

    Args:
        path: The file; made if missing.
        url: Its URL, for messages.
        name: What it is for, in a word.
        ledger: What is said to it.
        timeout: Seconds that a transaction may take.
    """

    def __init__(self, path: Path, url: str, name: str, ledger: L, *, timeout: float) -> None:
        self.ledger = ledger
        self._call = f"a transaction of {name}"
        self._path, self._url, self._timeout = path, url, timeout
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        event.listen(self._engine, "begin", lambda db: db.exec_driver_sql(db.info[_BEGIN]))
        self._connection: Connection | None = None
        self._queue: QueueFile | None = None
        self._wake: WakeFile | None = None
        self._tasks = Scope(f"the database of {name}", on_error=told_by_result)
        self._announcing: asyncio.Task[None] | None = None
        self._is_heard = True
        self._lane = Lane(
            f"locum-{name}", url, hint=f"others write to {path}, or its disk does not answer", at_end=self._leave
        )

    @property
    def dialect(self) -> Dialect:
        """How SQLite is spoken to."""
        return self._engine.dialect

    async def open(self) -> None:
        """Make the tables if there are none."""
        await self.transact(self.ledger.prepare)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction; only one does at a time, on the whole machine."""
        return await self._in_turn(lambda: self._within(work, "BEGIN IMMEDIATE"))

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Ask something; who reads waits for no writer of another process."""

        def reading(_call: Call[T]) -> T:
            return self._within(question, "BEGIN")

        return await self._lane.call(self._call, self._told(reading), timeout=self._timeout)

    async def tell(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        """Change something by one statement, in a transaction of the driver's own.

        Others are told afterwards, a few times together: whoever follows would look after each of many.
        """
        given = statement.ordered(values)
        has_changed = await self._in_turn(lambda: self._say(statement.text, given))
        if has_changed:
            self._is_heard = False
            if self._announcing is None or self._announcing.done():
                self._announcing = self._tasks.spawn(self._announce(), name="tell others")
        return has_changed

    async def listen(self, wake: Callable[[], object]) -> None:
        """Call something whenever a process has something for others, by the touch of a file beside the database."""
        file = self._wake_file()
        try:
            if file.watch_fd is not None:

                def touched() -> None:
                    file.drain()
                    file.watch_again()  # it may have been deleted, and made again
                    wake()

                asyncio.get_running_loop().add_reader(file.watch_fd, touched)
            await asyncio.Event().wait()
        finally:
            if file.watch_fd is not None:
                asyncio.get_running_loop().remove_reader(file.watch_fd)
            file.close()

    async def close(self) -> None:
        """Leave."""
        await self._tasks.close(timeout=_GRACE)
        self._lane.close()
        self._lane.join(_GRACE)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Do something in the thread when it is this database's turn to write."""

        def writing(call: Call[T]) -> T:
            if self._queue is None:
                self._queue = QueueFile(self._path.with_name(self._path.name + "-queue"))
            with self._queue.turn():
                call.begin()
                return work()

        return await self._lane.call(self._call, self._told(writing), timeout=self._timeout)

    async def _announce(self) -> None:
        """Tell others, until nothing has come that they were not told of."""
        while not self._is_heard:
            self._is_heard = True
            try:
                await self._lane.call(self._call, self._told(lambda _: self._wake_others()), timeout=self._timeout)
            except StoreError:
                pass  # they look by themselves now and then
            await asyncio.sleep(_PAUSE)

    # -- in the thread

    def _told(self, work: Callable[[Call[T]], T]) -> Callable[[Call[T]], T]:
        """What says in our words what went wrong with it."""

        def told(call: Call[T]) -> T:
            try:
                return work(call)
            except (OperationalError, sqlite3.OperationalError, OSError) as error:
                self._drop()
                why = str(getattr(error, "orig", None) or error)
                raise StoreUnavailableError(self._url, f"{self._path}: {why}") from error

        return told

    def _within(self, work: Callable[[Connection], T], begin: str) -> T:
        db = self._connected()
        wakes_others(db.info)  # of one that was rolled back
        db.info[_BEGIN] = begin
        transaction = db.begin()
        try:
            result = work(db)
        except BaseException:
            transaction.rollback()
            raise
        try:
            transaction.commit()
        except OperationalError as error:  # it may be on disk, and be found by a recovery
            self._drop()
            raise OutcomeUnknownError(self._url, self._call, str(error.orig)) from error
        if wakes_others(db.info):
            self._wake_others()
        return result

    def _say(self, text: str, given: tuple[Any, ...]) -> bool:
        driver: Any = self._connected().connection.driver_connection
        driver.execute("BEGIN IMMEDIATE")
        try:
            has_changed = bool(driver.execute(text, given).fetchall())
        except BaseException:
            driver.execute("ROLLBACK")
            raise
        try:
            driver.execute("COMMIT")
        except sqlite3.OperationalError as error:  # as above
            self._drop()
            raise OutcomeUnknownError(self._url, self._call, str(error)) from error
        return has_changed

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _wake_others(self) -> None:
        if self._wake is None:
            self._wake = self._wake_file()
        self._wake.touch()

    def _wake_file(self) -> WakeFile:
        return WakeFile(self._path.with_name(self._path.name + "-wake"))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=self._timeout * _SHARE, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _drop(self) -> None:
        connection: Any = self._connection
        self._connection = None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _leave(self) -> None:
        self._drop()
        for file in (self._queue, self._wake):
            if file is not None:
                file.close()
