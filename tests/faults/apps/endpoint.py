"""A web server in a process that is not Locum's: it stands in line, and answers while it is active.

    python endpoint.py URL NAME

Each answer says the token and the name; the address moves with the term.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any

import uvicorn

from locum import Coordinator
from locum.errors import TermEndedError
from locum.integrations.active import ActiveOnly

SERVICE = "invoices"
TTL = 2.0


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """The application."""
    del receive
    body = json.dumps({"token": scope["locum.term"].token, "name": sys.argv[2]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def main(url: str, name: str) -> None:
    """Serve for ever."""
    app = ActiveOnly(answer)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Coordinator.connect(url, namespace="faults", ttl=TTL, instance=name) as coordinator:
        os.write(1, b"ready\n")
        while True:
            try:
                async with coordinator.election(SERVICE).lead() as term:
                    with app.during(term):
                        async with coordinator.naming.publish(SERVICE, address, term=term):
                            await asyncio.wait([serving])
            except TermEndedError:
                pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
