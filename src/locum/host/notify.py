"""What systemd is told, by datagrams to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); nothing without one."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Notifier"]

_log = logger("host.notify")
_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"
_MICROSECOND: Final = 1000  # ns


class Notifier:
    """Tells the service manager.

    Args:
        address: The socket's path, or its abstract name after an `@`; empty to tell nobody.
        watchdog: Nanoseconds within which the watchdog wants to be fed; `None` if there is none.
    """

    def __init__(self, address: str = "", *, watchdog: int | None = None) -> None:
        self.watchdog = seconds(watchdog) if watchdog else None
        """Seconds within which the watchdog wants to be fed; `None` if there is none."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # a manager that does not read must not hold up the loop
        elif address:
            _log.warning("%s=%s is no local socket: systemd is told nothing", _SOCKET, address)

    @classmethod
    def take(cls, *, pids: Collection[int]) -> Notifier:
        """As the environment says, and out of it: a child of ours must not speak for us.

        Args:
            pids: This process, and those above it that belong to the instance: the watchdog may name any of them.
        """
        address = os.environ.pop(_SOCKET, "")
        every, whose = os.environ.pop(_WATCHDOG, ""), os.environ.pop(_WATCHDOG_PID, "")
        is_ours = not whose or (whose.isdecimal() and int(whose) in pids)
        return cls(address, watchdog=int(every) * _MICROSECOND if every.isdecimal() and is_ours else None)

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def tell(self, **fields: object) -> bool:
        """Send assignments, such as `READY=1`, in one datagram.

        Returns:
            Whether it was taken; a manager that is away harms nobody.
        """
        if self._socket is None:
            return True
        text = "\n".join(f"{name}={str(value).replace(chr(10), ' ')}" for name, value in fields.items())
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            _log.debug("systemd was not told %s: %s", ", ".join(fields), error)
            return False
        return True

    def close(self) -> None:
        """Tell no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
