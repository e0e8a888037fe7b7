"""Brokers of a test's own, for the demo's relay: NATS with JetStream, and RabbitMQ with an `epmd` of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tests.faults.kit.waiting import until
from tests.servers.server import NotInstalledError, Server, free_port

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

__all__ = ["Nats", "RabbitMq"]

_NATS: Final = shutil.which("nats-server") or "/usr/sbin/nats-server"
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the PATH changes the user
_LOOPBACK: Final = "127.0.0.1"


class Nats(Server):
    """One node with streams."""

    program: ClassVar[str] = _NATS
    package: ClassVar[str] = "nats-server"

    def command(self) -> Sequence[str]:
        """All of it on the loopback."""
        return [_NATS, "-a", _LOOPBACK, "-p", str(self.port), "-js", "-sd", str(self.folder)]


class RabbitMq(Server):
    """One node; the daemon by which nodes find each other is started and ended with it."""

    program: ClassVar[str] = str(_RABBITMQ)
    package: ClassVar[str] = "rabbitmq-server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._names_port = free_port()
        self._names: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_installed(cls) -> bool:
        """Whether Erlang's daemon is there too."""
        return super().is_installed() and shutil.which("epmd") is not None

    def start(self) -> None:
        """Start the daemon first, in the foreground: otherwise the node would start one that nobody ends."""
        if not self.is_installed():
            raise NotInstalledError(f"{self.program} is not installed: it is in the package {self.package}")
        command = ["epmd", "-address", _LOOPBACK, "-port", str(self._names_port)]
        names = self._names = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: names.poll() is not None or _accepts(command), "epmd to answer")
            super().start()
        except BaseException:
            self._end_names()
            raise

    def command(self) -> Sequence[str]:
        """As for systemd: the script becomes the node itself."""
        return [str(_RABBITMQ)]

    def environment(self) -> dict[str, str]:
        """Everything on the loopback, and in the folder."""
        files = {name: str(self.folder / name) for name in ("mnesia", "log", "plugins", "pid", "none")}
        return {
            **super().environment(),
            "HOME": str(self.folder),  # its cookie
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_ADDRESS": _LOOPBACK,
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_NODENAME": f"locum-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": _LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": files["mnesia"],
            "RABBITMQ_LOG_BASE": files["log"],
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": files["plugins"],
            "RABBITMQ_PID_FILE": files["pid"],
            "RABBITMQ_CONF_ENV_FILE": files["none"],
            "RABBITMQ_CONFIG_FILE": files["none"],
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        self._end_names()

    def _end_names(self) -> None:
        names, self._names = self._names, None
        if names is not None:
            names.kill()
            names.wait()


def _accepts(epmd: Sequence[str]) -> bool:
    return subprocess.run([*epmd, "-names"], capture_output=True, check=False).returncode == 0
