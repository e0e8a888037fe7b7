"""The host of the demo, as a user would write it: `locum run locum.demo.app:host`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator

from locum import Host, Options, Stopping, TermStarted
from locum.demo.brokers import Broker, broker_for
from locum.demo.folder import DEMO_VARIABLE, Folder
from locum.demo.grace_period import GracePeriod
from locum.demo.orders import Orders
from locum.demo.settings import SETTINGS_SECTION, DemoSettings
from locum.demo.trace import Trace
from locum.identity import parent_of

__all__ = ["host"]

host = Host("demo")
host.options(DemoSettings, section=SETTINGS_SECTION)


def open_orders() -> Iterator[Orders]:
    """The orders database of this run."""
    orders = Orders(Folder.of_this_run().orders)
    yield orders
    orders.close()


def open_trace() -> Iterator[Trace]:
    """The trace of this run."""
    trace = Trace(Folder.of_this_run().trace)
    yield trace
    trace.close()


async def open_broker(settings: Options[DemoSettings]) -> AsyncIterator[Broker]:
    """The broker that the settings name when the host starts."""
    broker = broker_for(settings.current.broker, Folder.of_this_run().path.name)
    await broker.open()
    yield broker
    await broker.close()


host.provide(open_orders)
host.provide(open_trace)
host.provide(open_broker)
host.fence(Orders)
host.add(GracePeriod, stop_timeout=2)


@host.on(TermStarted)
def note_term(event: TermStarted) -> None:
    """Note for the view who is active, by one write."""
    line = json.dumps({"instance": event.instance, "token": event.token, "sentence": str(event)})
    with Folder.of_this_run().terms.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


@host.background
async def end_with_demo(stopping: Stopping) -> None:
    """End this instance when the demo that started it is gone: it can end its instances only as long as it lives."""
    demo = os.environ.get(DEMO_VARIABLE)
    if demo is None:
        return  # somebody runs it by hand
    guardian = parent_of(os.getppid()) or 0
    async for _ in stopping.every(0.5):
        parent = parent_of(guardian)
        if parent is not None and parent != int(demo):
            os.kill(guardian, signal.SIGTERM)
            return
