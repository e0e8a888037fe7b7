"""A FastAPI application under uvicorn, with a host in its lifespan; its body writes in fenced transactions only.

The port is found in the file FAULTS_ROWS + "-port". The order `stubborn` makes the body ignore its end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from locum import Host, Term
from locum.errors import StaleTermError, TermEndedError
from tests.faults.apps.ledger import Ledger, take_order

if TYPE_CHECKING:
    from typing import Any

host = Host("faults")
app = FastAPI(lifespan=host.lifespan)
ledger = Ledger()
books = sqlite3.connect(os.environ["FAULTS_ROWS"] + "-books", isolation_level=None)
terms: list[Term] = []
refused: dict[int, int] = {}


@host.active_passive(stop_timeout=0.3)
async def settle(term: Term) -> None:
    terms.append(term)
    stubborn = False
    while True:
        try:
            stubborn = stubborn or take_order() == ["stubborn"]
            await write(term)
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            if not stubborn:
                raise


async def write(term: Term) -> None:
    try:
        async with term.transaction(books):
            ledger.write(term.token)
    except (TermEndedError, StaleTermError):
        refused[term.token] = refused.get(term.token, 0) + 1


@app.get("/terms")
async def shown() -> dict[str, Any]:
    return {
        "current": [term.token for term in terms if term.is_current],
        "refused": {str(token): count for token, count in refused.items()},
    }


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    port = Path(os.environ["FAULTS_ROWS"] + "-port")
    port.with_suffix(".draft").write_text(str(listener.getsockname()[1]))
    port.with_suffix(".draft").rename(port)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
