"""A server of a test's own: one process on a free port of this machine, in a folder that goes with the test.

What is started here is ended here, by its process id. `make servers` installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

__all__ = ["NotInstalledError", "Server", "free_port"]


_HIGHEST: Final = 55535


class NotInstalledError(Exception):
    """The server's program is not there; the message says how to get it."""


def free_port() -> int:
    """A port of the loopback that nobody listens on now; a Redis of a cluster wants one that is 10,000 higher, too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= _HIGHEST:
            return port


class Server(ABC):
    """One server; several of one class are strangers to each other.

    Used as a context manager it runs for the length of the block.

    Attributes:
        program: What is started, as it is found in the PATH.
        package: In which Debian and Ubuntu have it.
        user: As whom it runs; `None` if as the tests.

    Args:
        folder: Where its files and its output go; made if it is not there.
    """

    program: ClassVar[str]
    package: ClassVar[str]
    user: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.variables: dict[str, str] = {}
        """More of its environment, from its next start on."""
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be started here."""
        return shutil.which(cls.program) is not None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """How it is started on `port`, in `folder`; asked anew at each start."""

    def answers(self) -> bool:
        """Whether it serves: a connection is accepted, if nothing better is known."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, f"{self.program} was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has said."""
        output = self.folder / "server.log"
        return output.read_text(errors="replace") if output.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            NotInstalledError: It is not there.
            RuntimeError: It has ended at once.
        """
        if not self.is_installed():
            raise NotInstalledError(
                f"{self.program} is not installed; `make servers` installs it as root (Debian, Ubuntu: the package"
                f" {self.package})"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as output:
            process = self._process = subprocess.Popen(
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
                user=self.user,
            )
        try:
            until(lambda: process.poll() is not None or self.answers(), f"{self.program} to answer", within=LONG)
        except BaseException:
            self.kill()
            raise
        if process.poll() is not None:
            last = (self.log.splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"{self.program} has ended at its start: {last}")

    def environment(self) -> dict[str, str]:
        """The variables that it is given."""
        return {**os.environ, **self.variables}

    def stop(self) -> None:
        """Ask it to end, and end it if it does not; one that does not run is left as it is."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at this moment."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it at this moment, and start it again on the same port, with what it has on disk."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it where it is: the kernel goes on taking what is sent to it, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        # the kernel stops one thread after the other, and each may answer until then
        until(lambda: all(_state(thread) in "TXZ" for thread in _threads(self.pid)), f"the stop of {self.pid}")

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        if number is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # one that is paused hears nothing
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
