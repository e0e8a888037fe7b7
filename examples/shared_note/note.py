"""A note that three web servers share: each request appends its mark to it, under a lock, with the lock's token.

The note is the value that goes with the lock, so only the lock's holder can change it, and no mark is lost or written
over: run as many of these as you like, on as many machines as the store allows.

    python note.py sqlite:///note.db 8001
    curl -d hello http://127.0.0.1:8001/      # says the token of the mark
    curl http://127.0.0.1:8001/               # the whole note, in the order of the tokens
"""

from __future__ import annotations

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import locum.blocking
from locum.errors import LocumError

if TYPE_CHECKING:
    from locum.blocking import Coordinator

PATIENCE = 20.0  # seconds that a caller may wait for its turn


class Note(BaseHTTPRequestHandler):
    """One request; each runs in a thread of its own."""

    coordinator: Coordinator

    def do_GET(self) -> None:
        """The note as it stands."""
        self._answer(200, self.coordinator.lock("note").value() or b"")

    def do_POST(self) -> None:
        """Append a mark."""
        mark = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            with self.coordinator.lock("note", timeout=PATIENCE) as held:
                held.set((held.value or b"") + b"%d %s\n" % (held.token, mark))
        except LocumError as error:  # not acknowledged: it may be there or not
            self._answer(503, str(error).encode())
        else:
            self._answer(200, str(held.token).encode())

    def _answer(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """The note is what there is to read."""


class Server(ThreadingHTTPServer):
    """Lets as many callers wait as come at once."""

    request_queue_size = 128


def main(url: str, port: int) -> None:
    """Serve until asked to stop."""
    with locum.blocking.connect(url, namespace="note", ttl=2.0) as coordinator:
        Note.coordinator = coordinator
        server = Server(("127.0.0.1", port), Note)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
