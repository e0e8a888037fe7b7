"""A ZooKeeper of a test's own with a short tick, so that short TTLs are granted: one member, or an ensemble."""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from cryptography.hazmat.primitives import serialization

from tests.servers.server import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from tests.servers.certificates import Certificates

__all__ = ["Ensemble", "ZooKeeper", "shared"]

_JAR: Final = Path("/usr/share/java/zookeeper.jar")  # where Debian and Ubuntu put it
_TLS: Final = [_JAR.with_name(f"netty-{part}.jar") for part in ("codec", "resolver")]  # which it does not name itself
_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_JAVA: Final = ("-Xms32m", "-Xmx160m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class ZooKeeper(Server):
    """One member.

    Args:
        folder: Where its files go.
        settings: More of its settings, or others than these.
        certificates: With them it speaks TLS as well, on `tls_port`; started anew, it takes up renewed ones.
    """

    program: ClassVar[str] = "java"
    package: ClassVar[str] = "zookeeper"

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, certificates: Certificates | None = None
    ) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self.number: int | None = None
        """Which of an ensemble it is."""
        self._certificates = certificates
        self.settings = {
            "tickTime": "250",
            "maxSessionTimeout": "600000",
            "dataDir": str(self.data),
            "clientPortAddress": "127.0.0.1",
            "clientPort": str(self.port),
            "maxClientCnxns": "0",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
        }
        if certificates is not None:
            self.tls_port = free_port()
            self.settings |= {
                "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
                "secureClientPort": str(self.tls_port),
                "secureClientPortAddress": "127.0.0.1",
                "ssl.keyStore.location": str(folder / "own.pem"),
                "ssl.keyStore.type": "PEM",
                "ssl.trustStore.location": str(certificates.authority),
                "ssl.trustStore.type": "PEM",
                "ssl.clientAuth": "none",
            }
        self.settings |= settings or {}

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be started here."""
        return _JAR.exists() and shutil.which(cls.program) is not None

    def command(self) -> Sequence[str]:
        """The settings are written anew at each start."""
        file = self.folder / "zoo.cfg"
        file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        if self.number is not None:
            self.data.mkdir(exist_ok=True)
            (self.data / "myid").write_text(str(self.number))
        if self._certificates is not None:
            (self.folder / "own.pem").write_bytes(_together(self._certificates))
        jars = ":".join(map(str, [_JAR, *_TLS]))
        return [self.program, *_JAVA, "-cp", jars, _MAIN, str(file)]

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


class Ensemble:
    """Three members, any two of which are enough.

    Used as a context manager they run for the length of the block.

    Args:
        folder: Where their files go.
    """

    def __init__(self, folder: Path) -> None:
        self.members = [ZooKeeper(folder / str(number)) for number in (1, 2, 3)]
        ports = {f"server.{number}": f"127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)}
        for number, member in enumerate(self.members, 1):
            member.number = number
            member.settings |= {**ports, "initLimit": "40", "syncLimit": "20"}

    @property
    def hosts(self) -> str:
        """Where they are, as a URL has it."""
        return ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def __enter__(self) -> Self:
        with ThreadPoolExecutor(len(self.members)) as threads:  # none of them answers before two of them run
            list(threads.map(ZooKeeper.start, self.members))
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop()


@cache
def shared() -> ZooKeeper:
    """One server for all tests of a process that hurt nothing but their own root, or start it again at once."""
    folder = Path(tempfile.mkdtemp(prefix="locum-zookeeper-"))
    server = ZooKeeper(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    return server


def _together(certificates: Certificates) -> bytes:
    """Key and certificate in one file, the key as Java reads it."""
    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return plain + certificates.certificate.read_bytes()
