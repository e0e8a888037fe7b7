"""A Redis of a test's own: durable, if nothing else is asked for; with TLS, users and limits as they are given."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tests.faults.kit.waiting import until
from tests.servers.server import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers.certificates import Certificates

__all__ = ["Redis", "documented"]

_PAGE: Final = Path(__file__).parents[2] / "docs/stores/redis.md"


def documented(name: str) -> str:
    """The rights of a user as the store's page grants them: so the tests have neither more nor fewer."""
    found = re.search(rf"^ACL SETUSER {name} on >PASSWORD (.*)$", _PAGE.read_text(), re.MULTILINE)
    assert found is not None, f"{_PAGE} grants nothing to {name}"
    return found[1]


class Redis(Server):
    """One node.

    Args:
        folder: Where its files go.
        settings: More of its settings, or others than these.
        certificates: With them TLS is spoken on `tls_port`, and `port` is for the test itself.
        users: Of whom each has a password, and rights as Redis writes them.
    """

    program: ClassVar[str] = "redis-server"
    package: ClassVar[str] = "redis-server"

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        certificates: Certificates | None = None,
        users: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(folder)
        self.tls_port = free_port() if certificates is not None else 0
        self.users = dict(users or {})
        self.settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "enable-debug-command": "local",  # for `put_back`
            **(settings or {}),
        }
        if certificates is not None:
            self.settings |= {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(certificates.certificate),
                "tls-key-file": str(certificates.key),
                "tls-ca-cert-file": str(certificates.authority),
            }

    def command(self) -> Sequence[str]:
        """The settings stand on the command line: each start reads them as they are then."""
        given = [part for name, value in self.settings.items() for part in (f"--{name}", *_words(value))]
        for name, (password, rights) in self.users.items():
            given += ["--user", name, "on", f">{password}", *rights.split(" ")]
        return [self.program, *given]

    def answers(self) -> bool:
        """Whether it has read its files."""
        try:
            return self.ask("PING").startswith(("+PONG", "-NOAUTH"))
        except OSError:
            return False

    def ask(self, *command: str, timeout: float = 5.0) -> str:
        """What it answers to a command of nobody's on the plain port: the first line, or a text as a whole.

        Args:
            command: The command and its arguments.
            timeout: Seconds.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            parts = [part.encode() for part in command]
            text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), text))
            with connection.makefile("rb") as answer:
                first = answer.readline().decode(errors="replace").rstrip()
                is_text = first[:1] == "$" and first != "$-1"
                return answer.read(int(first[1:])).decode(errors="replace") if is_text else first

    def demand(self, *command: str) -> str:
        """The same, where an error is a failure of the test."""
        answer = self.ask(*command, timeout=20.0)
        assert not answer.startswith("-"), f"{' '.join(command)}: {answer}"
        return answer

    def info(self, *fields: str) -> list[str]:
        """What it says of itself, of these fields."""
        lines = dict(line.split(":", 1) for line in self.demand("INFO", "everything").splitlines() if ":" in line)
        return [lines[field] for field in fields]

    def wipe(self) -> None:
        """Lose everything; those who are connected are not told."""
        self.demand("FLUSHALL", "SYNC")

    def save(self) -> None:
        """Keep a copy of all that it holds."""
        self.demand("SAVE")
        shutil.copy(self.folder / "dump.rdb", self.folder / "kept.rdb")

    def put_back(self) -> None:
        """Hold what it held at `save`; those who are connected are not told."""
        shutil.copy(self.folder / "kept.rdb", self.folder / "dump.rdb")
        self.demand("DEBUG", "RELOAD", "NOSAVE")
        if self.settings["appendonly"] == "yes":  # until its file is made anew, a crash would lead to yet another past
            self.demand("BGREWRITEAOF")
            until(lambda: self.info("aof_rewrite_in_progress", "aof_rewrite_scheduled") == ["0", "0"], "the file")


def _words(value: str) -> Sequence[str]:
    return value.split(" ") if value else [""]
