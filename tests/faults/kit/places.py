"""Places: the stores that the rows run on, a file or a real server, and what can be done to each of them.

A row takes place on every store that its test is marked for (`pytest.mark.stores`). Servers are shared by the tests of
one process, each of which has a database of its own there; a row that harms the server itself has one of its own.
"""

from __future__ import annotations

import itertools
import re
import signal
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tests.servers.postgresql import Postgresql, Schema
from tests.servers.redis import Redis
from tests.servers.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.server import Server

__all__ = ["SERVERS", "STORES", "Place", "ServerPlace", "SqliteFile"]

_HOLDER: Final = Path(__file__).parents[1] / "apps" / "holder.py"
_DATABASES: Final = itertools.count(1)


class Place(ABC):
    """One store, and what can be done to it.

    Attributes:
        name: How tests call it, in their ids.
        native: Whether the server times the sessions itself: then it is its beats that nobody can read.
        tick: Seconds by which such a server may be late with the end of a session.
    """

    name: ClassVar[str]
    native: ClassVar[bool] = False
    tick: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def url(self) -> str:
        """The store's URL."""

    @abstractmethod
    def another(self) -> Place:
        """A place of the same sort where nothing is yet."""

    @contextmanager
    @abstractmethod
    def away(self) -> Iterator[None]:
        """For the length of the block nothing can be written, and nothing answers in vain: who asks waits."""

    @abstractmethod
    def wipe(self) -> None:
        """Lose everything, while instances work."""

    @abstractmethod
    def save(self) -> None:
        """Keep a copy of all that it holds, as a backup does."""

    @abstractmethod
    def put_back(self) -> None:
        """Hold what it held at `save`, while instances work."""


class SqliteFile(Place):
    """A file.

    Args:
        path: The file; it need not be there yet.
    """

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.path}"

    def another(self) -> SqliteFile:
        """Another file beside this one."""
        return SqliteFile(self.path.with_name(f"{self.path.stem}-{next(_DATABASES)}.db"))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Another process holds both of its locks, so that it can be read and not written to, as on a full disk."""
        command = [sys.executable, str(_HOLDER), str(self.path)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"held\n", "the store could not be held"
                yield
            finally:
                holder.send_signal(signal.SIGKILL)

    def wipe(self) -> None:
        """The file is gone, and all that belongs to it."""
        for path in sorted(self.path.parent.glob(f"{self.path.name}*")):
            path.unlink()

    def save(self) -> None:
        """A copy as it is now."""
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(self._copy)) as target:
            source.backup(target)

    def put_back(self) -> None:
        """The copy takes the place of the file, as one does who restores a backup."""
        for side in ("-wal", "-shm"):
            self.path.with_name(self.path.name + side).unlink(missing_ok=True)
        self._copy.replace(self.path)

    def restore_in_place(self) -> None:
        """The copy is written into the very file, through SQLite."""
        with closing(sqlite3.connect(self._copy)) as source, closing(sqlite3.connect(self.path, timeout=20)) as target:
            source.backup(target)

    @property
    def _copy(self) -> Path:
        return self.path.with_name("copy.db")


class ServerPlace(Place):
    """A database of its own on a server.

    Attributes:
        requests: As how many requests the server counts one call of the store's, at the most.

    Args:
        server: The server; it runs.
    """

    requests: ClassVar[int] = 1

    def __init__(self, server: Server) -> None:
        self.server = server
        self._database = next(_DATABASES)

    @property
    def url(self) -> str:
        """The store's URL."""
        return self.through("127.0.0.1", self.server.port)

    @abstractmethod
    def through(self, host: str, port: int) -> str:
        """The URL of this very store, for one who reaches it by another way."""

    @staticmethod
    @abstractmethod
    def is_installed() -> bool:
        """Whether such a server can be started here."""

    @staticmethod
    @abstractmethod
    def make(folder: Path) -> Server:
        """A server that has room for all tests of one process."""

    def another(self) -> ServerPlace:
        """Another database of the same server."""
        return type(self)(self.server)

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is stopped where it is: what is sent to it is taken, and nothing is answered."""
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()

    @abstractmethod
    def calls(self) -> int:
        """How many requests the server has had, as it says itself."""

    @contextmanager
    def ended(self) -> Iterator[None]:
        """The server is killed, and for the length of the block nobody listens."""
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()


class RedisPlace(ServerPlace):
    """A database of a Redis."""

    name = "redis"
    server: Redis

    @staticmethod
    def is_installed() -> bool:
        """Whether such a server can be started here."""
        return Redis.is_installed()

    @staticmethod
    def make(folder: Path) -> Redis:
        """A server that has room for all tests of one process."""
        return Redis(folder, settings={"databases": "10000"})

    def through(self, host: str, port: int) -> str:
        """The URL of this very store, for one who reaches it by another way."""
        return f"redis://{host}:{port}/{self._database}"

    def calls(self) -> int:
        """A call of the store's is a script; what that does in turn is not counted."""
        said = self.server.demand("INFO", "commandstats")
        return sum(map(int, re.findall(r"cmdstat_(?:evalsha|eval|fcall):calls=(\d+)", said)))

    def wipe(self) -> None:
        """Nobody who is connected is told."""
        self.server.wipe()

    def save(self) -> None:
        """A copy of the whole server."""
        self.server.save()

    def put_back(self) -> None:
        """It is ended for that."""
        self.server.put_back()


class PostgresqlPlace(ServerPlace):
    """A schema of a PostgreSQL."""

    name = "postgresql"
    server: Postgresql

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._schema = Schema(self.server)
        self._read = self._calls = 0

    @staticmethod
    def is_installed() -> bool:
        """Whether such a server can be started here."""
        return Postgresql.is_installed()

    @staticmethod
    def make(folder: Path) -> Postgresql:
        """A server that writes down what it is asked for."""
        del folder  # it has one of its own, for it may not be root's
        return Postgresql(settings={"log_statement": "all"})

    def through(self, host: str, port: int) -> str:
        """The URL of this very store, for one who reaches it by another way."""
        return self._schema.url(port=port).replace("127.0.0.1", host)

    def calls(self) -> int:
        """Each statement is a line of its log, of which only what is new is read: while it is, others go on asking."""
        with (self.server.folder / "server.log").open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        self._calls += len(re.findall(rb"LOG:  (?:statement|execute)", new))
        return self._calls

    def wipe(self) -> None:
        """Nobody who is connected is told."""
        self._schema.wipe()

    def save(self) -> None:
        """A copy of the schema."""
        self._schema.save()

    def put_back(self) -> None:
        """In one step; nobody who is connected is told."""
        self._schema.put_back()


class ZooKeeperPlace(ServerPlace):
    """A node of a ZooKeeper, below which the store lives."""

    name = "zookeeper"
    native = True
    tick = 0.25
    requests = 7  # a take without a place in line asks for as many; 200 nodes are read by one
    server: ZooKeeper

    @staticmethod
    def is_installed() -> bool:
        """Whether such a server can be started here."""
        return ZooKeeper.is_installed()

    @staticmethod
    def make(folder: Path) -> ZooKeeper:
        """A server with a short tick."""
        return ZooKeeper(folder)

    def through(self, host: str, port: int) -> str:
        """The URL of this very store, for one who reaches it by another way."""
        return f"zookeeper://{host}:{port}/faults-{self._database}"

    def calls(self) -> int:
        """Every packet that it has received, pings too."""
        said = self.server.ask("mntr")
        return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("zk_packets_received"))

    def wipe(self) -> None:
        """It is ended for that."""
        self.server.wipe()

    def save(self) -> None:
        """A copy of the whole server."""
        self.server.save()

    def put_back(self) -> None:
        """It is ended for that."""
        self.server.put_back()


SERVERS: Final = {place.name: place for place in (PostgresqlPlace, RedisPlace, ZooKeeperPlace)}
"""The places that are servers, by name."""

STORES: Final = (SqliteFile.name, *SERVERS)
"""The names of all places."""
