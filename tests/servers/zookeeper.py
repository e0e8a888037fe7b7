"""A ZooKeeper of a test's own: one member with a short tick, so that short TTLs are granted."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tests.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ZooKeeper"]

_JAR: Final = Path("/usr/share/java/zookeeper.jar")  # where Debian and Ubuntu put it
_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_JAVA: Final = ("-Xms32m", "-Xmx160m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class ZooKeeper(Server):
    """One member.

    Args:
        folder: Where its files go.
        settings: More of its settings, or others than these.
        properties: Of the Java that it runs in.
    """

    program: ClassVar[str] = "java"
    package: ClassVar[str] = "zookeeper"

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, properties: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self.properties = dict(properties or {})
        self.settings = {
            "tickTime": "250",
            "maxSessionTimeout": "600000",
            "dataDir": str(self.data),
            "clientPortAddress": "127.0.0.1",
            "clientPort": str(self.port),
            "maxClientCnxns": "0",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            **(settings or {}),
        }

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be started here."""
        return _JAR.exists() and shutil.which(cls.program) is not None

    def command(self) -> Sequence[str]:
        """The settings are written anew at each start."""
        file = self.folder / "zoo.cfg"
        file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        given = [f"-D{name}={value}" for name, value in self.properties.items()]
        return [self.program, *_JAVA, *given, "-cp", str(_JAR), _MAIN, str(file)]

    def answers(self) -> bool:
        """Whether it has read its files."""
        try:
            return self.ask("ruok") == "imok" and "Mode: " in self.ask("srvr")
        except OSError:
            return False

    def ask(self, word: str, *, timeout: float = 5.0) -> str:
        """What it answers to one of its four-letter words."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(word.encode())
            with connection.makefile("rb") as answer:
                return answer.read().decode(errors="replace")

    def save(self) -> None:
        """Keep a copy of all that it holds: what it has acknowledged is in its files."""
        shutil.rmtree(self.folder / "kept", ignore_errors=True)
        shutil.copytree(self.data, self.folder / "kept")

    def put_back(self) -> None:
        """Hold what it held at `save`; it has ended in between."""
        self.kill()
        shutil.rmtree(self.data)
        shutil.copytree(self.folder / "kept", self.data)
        self.start()

    def wipe(self) -> None:
        """Lose everything; it has ended in between."""
        self.kill()
        shutil.rmtree(self.data)
        self.start()
