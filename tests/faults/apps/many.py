"""One host that takes part in as many elections as it is told to."""

from __future__ import annotations

import os

from locum import Host, Term

host = Host("faults", ttl=3.0)


async def hold(term: Term) -> None:
    async for _ in term.every(3600):
        pass


for number in range(int(os.environ["FAULTS_ELECTIONS"])):
    host.active_passive(name=f"e{number}")(hold)
