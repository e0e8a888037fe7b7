"""A web application as a service of the host: it opens when everything is ready, and closes before anything stops.

Every instance serves; one of them counts. `/` says who is asked, and what has been counted.
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from locum import Host, Term
from locum.integrations.asgi import AsgiService, HealthApp

host = Host("counting")
counted = {"token": 0, "turns": 0}


@host.active_passive(stop_timeout=10)
async def count(term: Term) -> None:
    async for turn in term.every(0.1):
        counted.update(token=term.token, turns=turn)


async def show(request: Request) -> JSONResponse:
    return JSONResponse({"pid": os.getpid(), **counted})


app = Starlette(routes=[Route("/", show), Mount("/locum", app=HealthApp(host))])
host.add(AsgiService(app, port=int(os.environ.get("PORT", "8000"))), name="web", stop_timeout=20)

if __name__ == "__main__":
    host.run()
