"""The demo's outbox, relayed to real brokers: at least once, never lost, and the audit says which were sent again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.demo.audit import relayed
from locum.demo.brokers import Message, broker_for
from locum.demo.folder import FOLDER_VARIABLE, Folder
from locum.demo.orders import Orders
from locum.testing.conformance import demand_server
from tests.faults.kit.waiting import until
from tests.servers.brokers import Nats, RabbitMq
from tests.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from locum.demo.brokers import Broker
    from tests.servers.server import Server

KINDS: dict[str, type[Server]] = {"redis": Redis, "nats": Nats, "amqp": RabbitMq}


def url_of(server: Server) -> str:
    """Where a broker is."""
    scheme = next(scheme for scheme, kind in KINDS.items() if isinstance(server, kind))
    return f"{scheme}://127.0.0.1:{server.port}"


@pytest.fixture(params=list(KINDS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    kind = KINDS[request.param]
    demand_server(request.param, kind.is_installed())
    with kind(tmp_path / "broker") as made:
        yield made


@asynccontextmanager
async def opened(server: Server, name: str) -> AsyncIterator[Broker]:
    broker = broker_for(url_of(server), name)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def test_a_broker_keeps_what_it_is_given_in_order(server: Server) -> None:
    sent = [Message(row, row + 10, 3) for row in range(20)]
    async with opened(server, "outbox-1") as broker, opened(server, "outbox-1") as other:
        assert await other.all_messages() == []
        await broker.publish(sent)
        await other.publish(sent[:2])
        assert await other.all_messages() == [*sent, *sent[:2]]
        await broker.clear()
        async with opened(server, "outbox-1") as again:
            assert await again.all_messages() == []


@pytest.mark.timeout(150)
def test_the_demo_relays_every_order(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "locum", "demo", "--seconds", "10", "--kills", "4", "--rate", "20", "--json"]
    folder = tmp_path / "demo"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder), "LOCUM_DEMO_BROKER": url_of(server)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=140, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    relay = found["relay"]
    assert found["orders"]["duplicated"] == 0
    assert relay["lost"] == []
    assert relay["messages"] >= found["orders"]["published"] == 200
    assert len(relay["twice"]) <= relay["messages"] - 200


class Held:
    """An instance of the demo whose broker answers and whose mark is held up: what it is killed in."""

    def __init__(self, folder: Folder, server: Server) -> None:
        self.folder, self._server = folder, server
        self.orders = Orders(folder.orders)
        self.orders.prepare()

    def start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            FOLDER_VARIABLE: str(self.folder.path),
            "LOCUM_DEMO_BROKER": url_of(self._server),
            "LOCUM_STORE": self.folder.store_url,
            "LOCUM_TTL": "2",
        }
        command = [sys.executable, "-m", "locum", "run", "locum.demo.app:host", "--name", name]
        with self.folder.log(name).open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def worker(self) -> int:
        """The process that has left the last row of the trace."""
        return int(self.folder.trace.read_text().splitlines()[-1].split()[1])

    def rows(self, what: str) -> int:
        (count,) = self.orders.connection.execute(f"SELECT count(*) FROM outbox WHERE {what}").fetchone()
        return int(count)


async def test_who_is_killed_between_publish_and_mark_leaves_it_to_be_sent_again(
    server: Server, tmp_path: Path
) -> None:
    """The broker is stopped until the orders lie in the outbox; then the mark is held up, and the broker goes on."""
    folder = Folder(tmp_path / "demo")
    folder.path.mkdir()
    held = Held(folder, server)
    processes = [held.start("web-1")]
    try:
        until(lambda: folder.trace.exists() and folder.trace.stat().st_size, "an active one", within=60)
        now = Clock().now()
        held.orders.place([(now, now)])
        until(lambda: held.rows("sent = 1") == 1, "the first order, by which all connections stand")
        first = held.worker()

        server.pause()
        now = Clock().now()
        held.orders.place([(now, now)] * 3)
        until(lambda: held.rows("sent IS NULL") == 3, "three orders in the outbox")
        with closing(sqlite3.connect(folder.orders, isolation_level=None, timeout=20)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # from here on nobody can mark
            server.resume()
            async with opened(server, folder.path.name) as broker:
                async for count in _growing(broker):
                    if count == 4:
                        break
            os.kill(first, signal.SIGKILL)
        processes.append(held.start("web-2"))
        until(lambda: held.rows("sent IS NULL") == 0, "the three to be sent again, and marked")
        async with opened(server, folder.path.name) as broker:
            messages = await broker.all_messages()
            found = relayed(held.orders.all_orders(), messages, now=Clock().now())
        assert found.lost == ()
        assert found.twice == (2, 3, 4)
        assert sorted(one.order for one in messages) == [1, 2, 2, 3, 3, 4, 4]
        assert len({one.token for one in messages if one.order == 2}) == 2, "by another term"
        assert sorted(event.order for event in held.orders.all_events()) == [1, 2, 3, 4], "each is marked once"
    finally:
        server.resume()
        for process in processes:
            process.kill()
            process.wait()
        held.orders.close()


async def _growing(broker: Broker) -> AsyncIterator[int]:
    """How many messages the broker has, again and again, for as long as that may take."""
    clock = Clock()
    until_ = clock.now() + 30_000_000_000
    while clock.now() < until_:
        yield len(await broker.all_messages())
        await clock.sleep(0.02)
    raise AssertionError("waited in vain for the messages")
