"""A MariaDB of a test's own."""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pymysql

from tests.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Mariadb", "shared"]

_IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # others' disks are not kept busy
_PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")


def _program(name: str) -> str | None:
    """Debian keeps the server out of most users' PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_PLACES)))


class Mariadb(Server):
    """A server with a data folder that goes with it."""

    program: ClassVar[str] = "mariadbd"
    package: ClassVar[str] = "mariadb-server"
    password: ClassVar[str] = "correct-horse"  # noqa: S105 - of a server that goes with its test

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="locum-mariadb-", dir=_IN_MEMORY)))

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it and what makes its data folder are there."""
        return all(map(_program, (cls.program, "mariadb-install-db")))

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def command(self) -> Sequence[str]:
        """The settings stand on the command line."""
        given = {
            "datadir": self.data,
            "port": self.port,
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "bind-address": "127.0.0.1",
            "user": getpass.getuser(),
            "innodb-buffer-pool-size": "16M",
            "innodb-log-file-size": "8M",
            "default-storage-engine": "Aria",  # so that a table that must be InnoDB's says so
        }
        return [str(_program(self.program)), "--no-defaults", *(f"--{name}={value}" for name, value in given.items())]

    def start(self) -> None:
        """Make the data folder if there is none, and start."""
        if self.is_installed() and not self.data.exists():
            subprocess.run(
                [
                    str(_program("mariadb-install-db")),
                    "--no-defaults",
                    f"--datadir={self.data}",
                    f"--user={getpass.getuser()}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ],
                check=True,
                capture_output=True,
                cwd=self.folder,
            )
        super().start()
        self.run(
            f"CREATE USER IF NOT EXISTS owner@'127.0.0.1' IDENTIFIED BY '{self.password}'",
            "GRANT ALL ON *.* TO owner@'127.0.0.1' WITH GRANT OPTION",
        )

    def answers(self) -> bool:
        """Whether it takes statements; PyMySQL leaves a socket open that it could not connect."""
        if not (self.folder / "socket").exists() or not super().answers():
            return False
        try:
            self.run("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it, and everything of it."""
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as root, each for itself; the rows of the last one."""
        with (
            pymysql.connect(
                unix_socket=str(self.folder / "socket"), user="root", database=database, autocommit=True
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@cache
def shared() -> Mariadb:
    """One that all tests of a process share; it ends with it."""
    server = Mariadb()
    server.start()
    atexit.register(server.stop)
    return server
