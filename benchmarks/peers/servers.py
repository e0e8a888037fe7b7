"""The peers' servers: one of our own each, on a free port of this machine, in a folder that goes with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Unavailable
from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["SERVERS"]

_ZOOKEEPER: Final = Path("/usr/share/java/zookeeper.jar")  # where Debian and Ubuntu put it
_ZOOKEEPER_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """As it comes, but for the files that it would write now and then."""
    port = _free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with _running(_found(command, "redis-server"), port, folder):
        yield str(port)


@contextmanager
def _etcd(folder: Path) -> Iterator[str]:
    """One member, as it comes."""
    port, peers = _free_port(), f"http://127.0.0.1:{_free_port()}"
    clients = f"http://127.0.0.1:{port}"
    command = ["etcd", "--data-dir", str(folder / "data"), "--initial-cluster", f"default={peers}"]
    command += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
    command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
    with _running(_found(command, "etcd-server"), port, folder):
        yield str(port)


@contextmanager
def _zookeeper(folder: Path) -> Iterator[str]:
    """One member with the tick that its documentation shows, so that sessions of 4 s and longer are granted."""
    if not _ZOOKEEPER.exists():
        raise Unavailable(f"ZooKeeper is not installed; {_WHERE.format('zookeeper')}")
    port = _free_port()
    settings = folder / "zoo.cfg"
    lines = ("tickTime=2000", f"dataDir={folder}", "clientPortAddress=127.0.0.1", f"clientPort={port}")
    settings.write_text("\n".join([*lines, "admin.enableServer=false", ""]))
    command = ["java", "-cp", str(_ZOOKEEPER), _ZOOKEEPER_MAIN, str(settings)]
    with _running(_found(command, "default-jre-headless"), port, folder):
        yield str(port)


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

_WHERE: Final = "`make servers` installs it as root (Debian, Ubuntu: the package {})"


def _found(command: list[str], package: str) -> list[str]:
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not installed; {_WHERE.format(package)}")
    return command


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    output = folder / "server.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=folder, start_new_session=True
        )
    try:
        until(lambda: process.poll() is not None or _answers(port), f"{command[0]} to answer", within=LONG)
        if process.poll() is not None:
            last = (output.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
            raise Unavailable(f"{command[0]} has ended at its start: {last}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
