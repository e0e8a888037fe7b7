"""The peers' servers: one of our own each, on a free port of this machine, in a folder that goes with it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from benchmarks.harness import Unavailable
from tests.servers.redis import Redis
from tests.servers.server import NotInstalledError, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["SERVERS"]

_ZOOKEEPER: Final = Path("/usr/share/java/zookeeper.jar")  # where Debian and Ubuntu put it
_ZOOKEEPER_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class _Etcd(Server):
    """One member, as it comes."""

    program: ClassVar[str] = "etcd"
    package: ClassVar[str] = "etcd-server"

    def command(self) -> Sequence[str]:
        peers, clients = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{self.port}"
        command = [self.program, "--data-dir", str(self.folder / "data"), "--initial-cluster", f"default={peers}"]
        command += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        return [*command, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]


class _ZooKeeper(Server):
    """One member with the tick that its documentation shows, so that sessions of 4 s and longer are granted."""

    program: ClassVar[str] = "java"
    package: ClassVar[str] = "zookeeper"

    @classmethod
    def is_installed(cls) -> bool:
        return _ZOOKEEPER.exists() and shutil.which(cls.program) is not None

    def command(self) -> Sequence[str]:
        settings = self.folder / "zoo.cfg"
        lines = ("tickTime=2000", f"dataDir={self.folder}", "clientPortAddress=127.0.0.1", f"clientPort={self.port}")
        settings.write_text("\n".join([*lines, "admin.enableServer=false", ""]))
        return [self.program, "-cp", str(_ZOOKEEPER), _ZOOKEEPER_MAIN, str(settings)]


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """As it comes, but for the files that it would write now and then."""
    with _running(Redis(folder, settings={"appendonly": "no", "appendfsync": "everysec"})) as server:
        yield str(server.port)


@contextmanager
def _etcd(folder: Path) -> Iterator[str]:
    with _running(_Etcd(folder)) as server:
        yield str(server.port)


@contextmanager
def _zookeeper(folder: Path) -> Iterator[str]:
    with _running(_ZooKeeper(folder)) as server:
        yield str(server.port)


@contextmanager
def _none(folder: Path) -> Iterator[str]:
    """No server: a file that the processes share."""
    yield str(folder / "shared.db")


SERVERS: Final[dict[str, Callable[[Path], AbstractContextManager[str]]]] = {
    "redis": _redis,
    "etcd": _etcd,
    "zookeeper": _zookeeper,
    "none": _none,
}
"""What starts a server by name, and ends it: each gives what its clients are told."""


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
    except (NotInstalledError, RuntimeError) as error:
        raise Unavailable(str(error)) from None
    try:
        yield server
    finally:
        server.stop()
