"""A wire between one instance and its store: a TCP proxy of ours, which does to what passes what a network can do.

What it keeps back it delivers once it is whole again, as TCP does after a road has come back: also a request whose
sender has long given up, and closed its end.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["HARMS", "Wire"]

HARMS: Final = ("silent", "reset", "requests", "answers", "slow", "half-open")
"""What can be done to a wire: nothing passes · every connection is reset, old or new · what one side says does not
pass · all passes late · what was connected is dead and nobody is told, while new connections are whole."""

_LINGER: Final = struct.pack("ii", 1, 0)  # close by a reset
_AT_ONCE: Final = 1 << 16


class _Connection:
    """One connection: two sockets, and whether it is dead without anybody's knowing."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.is_dead = False

    def reset(self) -> None:
        """Both ends are told."""
        for end in (self.client, self.server):
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                end.shutdown(socket.SHUT_RD)  # wakes whoever waits in it
            except OSError:
                pass  # it is closed already
            end.close()


class Wire:
    """Listens on a port of its own, and carries to the server's.

    Args:
        port: The server's, on this machine.
        host: The address to listen on.
        delay: Seconds by which all is late while the harm is `slow`.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", delay: float = 0.0) -> None:
        self._server, self.host, self._delay = port, host, delay
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._harm = ""
        self._changed = threading.Condition()
        self._connections: list[_Connection] = []
        self._is_closed = False
        self._begin(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.reset()

    def hurt(self, harm: str) -> None:
        """Do something to it, until `mend`; one of `HARMS`."""
        assert harm in HARMS
        with self._changed:
            self._harm = harm
            connections = list(self._connections)
            if harm == "half-open":
                for connection in connections:
                    connection.is_dead = True
        if harm == "reset":
            for connection in connections:
                connection.reset()

    def mend(self) -> None:
        """It is whole again, and what was kept back passes."""
        with self._changed:
            self._harm = ""
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._begin(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(client, server)
        with self._changed:
            self._connections.append(connection)
            is_refused = self._harm == "reset" or self._is_closed
        if is_refused:
            connection.reset()
            return
        self._begin(self._carry, connection, client, server, "requests")
        self._begin(self._carry, connection, server, client, "answers")

    def _carry(self, connection: _Connection, source: socket.socket, sink: socket.socket, what: str) -> None:
        try:
            while data := source.recv(_AT_ONCE):
                if not self._passes(connection, what):
                    return
                sink.sendall(data)
            if self._passes(connection, what):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            connection.reset()  # one end is gone, and the other one is told

    def _passes(self, connection: _Connection, what: str) -> bool:
        """Wait until what has come may pass; false if it never may."""
        with self._changed:
            if self._harm == "slow":
                self._changed.wait_for(lambda: self._is_closed, self._delay)
            self._changed.wait_for(lambda: self._is_closed or self._harm not in ("silent", what))
            return not (self._is_closed or connection.is_dead)

    @staticmethod
    def _begin(work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, name="wire", daemon=True).start()
