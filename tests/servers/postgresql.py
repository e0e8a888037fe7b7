"""A PostgreSQL of a test's own, and a pooler before it."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import psycopg

from tests.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers.certificates import Certificates

__all__ = ["Pooler", "Postgresql", "Schema", "shared"]

_IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # others' disks are not kept busy
_TABLES = ("store", "namespaces", "days", "sessions", "records")


def _programs() -> Path:
    """Debian keeps the server's programs out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else Path("/usr/lib/postgresql")


class Postgresql(Server):
    """A server with a data folder that goes with it; it refuses to be root's, and runs as Debian's `postgres` then.

    Args:
        settings: Of its configuration.
        certificates: With them it speaks TLS, too.
        standby_of: It is a copy of this one, which runs, and follows it.
        on_disk: Its data is where others' is: for who measures what it takes until a commit is durable.
    """

    program: ClassVar[str] = "postgres"
    package: ClassVar[str] = "postgresql"
    password: ClassVar[str] = "correct-horse"  # noqa: S105 - of a server that goes with its test

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        certificates: Certificates | None = None,
        standby_of: Postgresql | None = None,
        on_disk: bool = False,
    ) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="locum-postgresql-", dir=None if on_disk else _IN_MEMORY)))
        self._primary = standby_of
        self.user = "postgres" if os.geteuid() == 0 else None
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
            "max_connections": "150",
            "shared_buffers": "16MB",
            "log_connections": "off",
            "autovacuum": "off",
            **(settings or {}),
        }
        if certificates is not None:
            key = self.folder / "server.key"
            shutil.copy(certificates.key, key)
            key.chmod(0o600)
            self._own(key)
            for file in (certificates.certificate, certificates.authority):
                shutil.copy(file, self.folder)
                self._own(self.folder / file.name)
            self.settings |= {
                "ssl": "on",
                "ssl_key_file": str(key),
                "ssl_cert_file": str(self.folder / certificates.certificate.name),
                "ssl_ca_file": str(self.folder / certificates.authority.name),
            }

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its programs are there."""
        return (_programs() / cls.program).exists()

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def command(self) -> Sequence[str]:
        """The settings stand on the command line."""
        given = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return [str(_programs() / self.program), "-D", str(self.data), "-p", str(self.port), *given]

    def start(self) -> None:
        """Make the data folder if there is none, and start."""
        self._own(self.folder)
        if self._primary is not None and not self.data.exists():
            self._program("pg_basebackup", "-D", str(self.data), "-R", "-c", "fast", "-d", self._primary.dsn())
        if self.is_installed() and not self.data.exists():
            secret = self.folder / "password"
            secret.write_text(self.password)
            self._own(secret)
            made = ("-D", str(self.data), "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}")
            self._program("initdb", *made, "--no-sync", "--no-locale", "-E", "UTF8")
        super().start()

    def answers(self) -> bool:
        """Whether it takes statements."""
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it, and everything of it."""
        self._end(signal.SIGINT)  # the fast way: whoever is connected is sent away
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End it at this moment, with all of its processes."""
        for pid in self._processes():
            _send(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop all of its processes."""
        for pid in [self.pid, *self._processes()]:
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in [*self._processes(), self.pid]:
            _send(pid, signal.SIGCONT)

    def promote(self) -> None:
        """It follows no longer, and can be written to."""
        self._program("pg_ctl", "promote", "-D", str(self.data))

    def dsn(self, database: str = "postgres", *, user: str = "owner", password: str | None = None) -> str:
        """What libpq calls it."""
        secret = self.password if password is None else password
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user} password={secret}"

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements as the owner, each for itself; the rows of the last one."""
        with psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=5) as connection:
            rows: list[tuple[object, ...]] = []
            for statement in statements:
                found = connection.execute(statement)
                rows = found.fetchall() if found.description else []
            return rows

    def _program(self, name: str, *arguments: str) -> None:
        command = [str(_programs() / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=self.user, cwd=self.folder)

    def _processes(self) -> list[int]:
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def _own(self, path: Path) -> None:
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)


class Schema:
    """An empty schema on a server, for one test.

    Args:
        server: The server.
    """

    def __init__(self, server: Postgresql) -> None:
        self.server, self.name = server, f"t_{uuid.uuid4().hex[:16]}"

    def url(
        self, *, user: str = "owner", password: str | None = None, port: int | None = None, options: str = ""
    ) -> str:
        """How a store is asked for in it."""
        secret = self.server.password if password is None else password
        place = f"127.0.0.1:{port or self.server.port}/postgres?schema={self.name}{options}"
        return f"postgresql://{user}:{secret}@{place}"

    def wipe(self) -> None:
        """Lose everything; those who are connected are not told."""
        self.server.run(f"DROP SCHEMA IF EXISTS {self.name} CASCADE")

    def save(self) -> None:
        """Keep a copy of all that the store holds."""
        kept = f"{self.name}_kept"
        self.server.run(f"DROP SCHEMA IF EXISTS {kept} CASCADE", f"CREATE SCHEMA {kept}")
        self.server.run(*(f"CREATE TABLE {kept}.{name} AS TABLE {self.name}.{name}" for name in _TABLES))

    def put_back(self) -> None:
        """Hold what was held at `save`; those who are connected are not told."""
        parts = [f"TRUNCATE {', '.join(f'{self.name}.{name}' for name in _TABLES)}"]
        parts += [f"INSERT INTO {self.name}.{name} TABLE {self.name}_kept.{name}" for name in _TABLES]
        self.server.run("; ".join(parts))

    def drop(self) -> None:
        """Remove it, and what was kept of it."""
        self.server.run(*(f"DROP SCHEMA IF EXISTS {name} CASCADE" for name in (self.name, f"{self.name}_kept")))


class Pooler(Server):
    """A pgbouncer that lends servers by the transaction.

    Args:
        server: What stands behind it.
        size: How many servers it lends.
    """

    program: ClassVar[str] = "pgbouncer"
    package: ClassVar[str] = "pgbouncer"

    def __init__(self, server: Postgresql, *, size: int = 4) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="locum-pgbouncer-")))
        self.user = "postgres" if os.geteuid() == 0 else None
        self._server, self._size = server, size

    def command(self) -> Sequence[str]:
        """Its configuration is written anew at each start."""
        users, settings = self.folder / "users", self.folder / "settings"
        users.write_text(f'"owner" "{self._server.password}"\n')
        settings.write_text(
            "\n".join(
                (
                    "[databases]",
                    f"* = host=127.0.0.1 port={self._server.port}",
                    "[pgbouncer]",
                    "listen_addr = 127.0.0.1",
                    f"listen_port = {self.port}",
                    "unix_socket_dir =",
                    "auth_type = plain",
                    f"auth_file = {users}",
                    "pool_mode = transaction",
                    f"default_pool_size = {self._size}",
                    "max_client_conn = 500",
                )
            )
        )
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            for path in (self.folder, users, settings):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        return [shutil.which(self.program) or "/usr/sbin/pgbouncer", str(settings)]

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be started here."""
        return shutil.which(cls.program) is not None or Path("/usr/sbin/pgbouncer").exists()

    def stop(self) -> None:
        """End it, and everything of it."""
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared() -> Postgresql:
    """One server for all tests of a process that hurt nothing but their own database, or start it again at once."""
    server = Postgresql()
    server.start()
    atexit.register(server.stop)
    return server


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
