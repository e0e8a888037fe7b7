"""One process with many candidates for one election, under a keeper of its own: each that wins writes rows.

They stand in line once a file is there, so that those of many processes do so at the same moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from locum.clock import Clock
from locum.coordination.commons import Commons
from locum.coordination.coordinator import Coordinator
from locum.host.host import keeper_command
from locum.keeper.budget import Budget
from locum.keeper.control import Hello, WorkerEnd
from locum.keeper.link import KeeperLink
from locum.registry import make_store
from locum.scopes import Scope, run
from locum.telemetry import Events
from tests.faults.apps.ledger import Ledger

NUMBER = int(os.environ["FAULTS_CANDIDATES"])
BARRIER = Path(os.environ["FAULTS_BARRIER"])
ledger = Ledger()


async def lead(coordinator: Coordinator) -> None:
    """One candidate: it writes under whatever it wins."""
    while not BARRIER.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.001)
    term = await coordinator.election("settle").win()
    while term.is_current:
        ledger.write(term.token)
        await asyncio.sleep(0.001)


async def work(end: WorkerEnd) -> None:
    """What a host does, without one."""
    ttl = float(os.environ["LOCUM_TTL"])
    hello = Hello(
        instance=os.environ["LOCUM_INSTANCE"],
        store=os.environ["LOCUM_STORE"],
        namespace="faults",
        ttl=Budget.of_seconds(ttl).ttl,
        stop_timeout=1.0,
        hang_timeout=30.0,
    )
    async with Scope("candidates") as scope:
        clock = Clock()
        events = Events(hello.instance, lambda coroutine, name: scope.spawn(coroutine, name=name))
        link = KeeperLink(end, clock=clock, scope=scope, events=events)
        lease = await link.open(hello)
        store = make_store(hello.store, namespace=hello.namespace, clock=clock)
        store.call_timeout, store.seen = lease.budget.call_seconds, link.seen
        await store.open()
        coordinator = Coordinator(Commons(store, link, events=events))
        await coordinator.open()
        await asyncio.wait([scope.spawn(lead(coordinator), name=f"candidate {each}") for each in range(NUMBER)])


if __name__ == "__main__":
    worker_end = WorkerEnd.take()
    if worker_end is None:
        os.execv(sys.executable, keeper_command([sys.executable, *sys.argv]))  # noqa: S606 - it is ourselves
    run(work(worker_end))
