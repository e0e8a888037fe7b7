"""An active body that does nothing, for what an instance costs while nothing happens."""

from __future__ import annotations

from locum import Host, Term

host = Host("faults")


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(3600):
        pass
