"""Health told to the outside: by HTTP, to systemd by a real socket, and by a file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import Clock
from locum.errors import ConfigurationError
from locum.host.health import Health, State
from locum.host.notify import Notifier
from locum.host.reporting import Reporting, Reports
from locum.scopes import Scope
from locum.service import Mode
from tests.unit.kit import LONG, ShiftedClock, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class Manager:
    """A service manager's end of the socket.

    Attributes:
        address: What NOTIFY_SOCKET would say.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self.address = "@" + path[1:] if path.startswith("\0") else path

    def heard(self) -> list[dict[str, str]]:
        """What came since the last time, a datagram each."""
        found: list[dict[str, str]] = []
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in text.splitlines()))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@asynccontextmanager
async def reporting(
    clock: Clock, reports: Reports, notifier: Notifier | None = None, **critical: float
) -> AsyncIterator[tuple[Health, Reporting]]:
    found: list[Reporting] = []

    def changed() -> None:
        for one in found:
            one.change()

    health = Health(
        "billing",
        "web-1",
        clock=clock,
        services={"settle": True, "metrics": False},
        critical=critical,
        changed=changed,
    )
    async with Scope("test") as scope:
        found.append(Reporting(health, reports, notifier or Notifier(), clock=clock, scope=scope))
        async with found[0].reporting():
            yield health, found[0]


def serve(health: Health) -> None:
    health.show("settle", Mode.PASSIVE)
    health.show("metrics", Mode.RUNNING)
    health.enter(State.READY)


def flat(messages: list[dict[str, str]]) -> dict[str, str]:
    return {name: value for message in messages for name, value in message.items()}


# -- by HTTP


async def ask(port: int, request: str) -> tuple[str, str]:
    """The head and the body of the answer to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode("latin-1"))
    answer = (await soon(reader.read())).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_probes_are_answered(clock: Clock) -> None:
    port = free_port()
    async with reporting(clock, Reports(address=f"127.0.0.1:{port}")) as (health, _):
        head, body = await ask(port, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        serve(health)
        head, body = await ask(port, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(body)}\r\n" in head
        assert "Connection: close" in head
        assert body == "ready\n"
        assert (await ask(port, "HEAD /livez HTTP/1.0\r\n\r\n"))[1] == ""
        assert json.loads((await ask(port, "GET /health HTTP/1.1\r\n\r\n"))[1])["ready"] is True
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("POST /livez HTTP/1.1\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("GET /livez SPDY/3\r\n\r\n", 400),
        ("\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_what_cannot_be_answered_is_told(clock: Clock, request_: str, code: int) -> None:
    port = free_port()
    async with reporting(clock, Reports(address=f"127.0.0.1:{port}")):
        assert (await ask(port, request_))[0].split()[1] == str(code)


async def test_who_sends_too_much_or_nothing_harms_nobody(clock: Clock) -> None:
    port = free_port()
    async with reporting(clock, Reports(address=f"127.0.0.1:{port}")):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        assert await ask(port, "GET /" + 20_000 * "x") == ("", "")
        assert (await ask(port, "GET /livez HTTP/1.1\r\n\r\n"))[1] == "live\n"
        for _, writer in silent:
            writer.close()


async def test_more_connections_than_it_takes_are_closed_and_it_comes_back(clock: Clock) -> None:
    port = free_port()
    async with reporting(clock, Reports(address=f"127.0.0.1:{port}")):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
        await soon(_until_refused(port))
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(LONG):
            while (await ask(port, "GET /livez HTTP/1.1\r\n\r\n"))[1] != "live\n":
                pass


async def _until_refused(port: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if await reader.read() == b"":
                return
        except ConnectionResetError:
            return
        finally:
            writer.close()


async def test_a_port_in_use_is_one_readable_error(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"cannot listen on {address}: .*in use.*choose another address"):
            async with reporting(clock, Reports(address=address)):
                raise AssertionError


# -- to systemd


@pytest.mark.parametrize("abstract", [False, True])
async def test_systemd_is_told_of_a_whole_life(clock: Clock, tmp_path: Path, abstract: bool) -> None:
    manager = Manager(f"\0locum-test-{os.getpid()}" if abstract else str(tmp_path / "n"))
    async with reporting(clock, Reports(), Notifier(manager.address)) as (health, _):
        heard: list[dict[str, str]] = []

        def told(**fields: str) -> bool:
            heard.extend(manager.heard())
            return fields.items() <= flat(heard).items()

        await until(lambda: told(STATUS="waiting for the store", EXTEND_TIMEOUT_USEC="15000000"), "the wait")
        assert "READY" not in flat(heard)
        health.enter(State.STARTING)
        await until(lambda: told(STATUS="starting"), "the start")
        assert "READY" not in flat(heard)
        serve(health)
        await until(lambda: told(READY="1", STATUS="passive"), "READY")
        health.show("settle", Mode.ACTIVE, 41)
        await until(lambda: told(STATUS="active token=41"), "the token")
        assert "WATCHDOG" not in flat(heard)
        heard.clear()
        health.enter(State.STOPPING)
        await until(lambda: told(STOPPING="1", EXTEND_TIMEOUT_USEC="15000000"), "the end")
    ended = [*heard, *manager.heard()]
    assert [message for message in ended if "STOPPING" in message] == [{"STOPPING": "1"}]
    manager.close()


async def test_the_stop_of_what_never_was_ready_is_told_too(clock: Clock, manager: Manager) -> None:
    async with reporting(clock, Reports(), Notifier(manager.address)):
        pass
    assert flat(manager.heard())["STOPPING"] == "1"


async def test_the_watchdog_is_fed_only_while_critical_services_beat(
    clock: ShiftedClock, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(manager.address, watchdog=40_000_000)
    async with reporting(clock, Reports(), notifier, metrics=5.0) as (health, report):
        serve(health)
        for _ in range(3):
            await until(lambda: "WATCHDOG" in flat(manager.heard()), "food")
        clock.shift(6)
        report.change()
        status = "metrics has not beaten for 6."
        await until(lambda: status in flat(manager.heard()).get("STATUS", ""), "the hunger")
        manager.heard()
        await asyncio.sleep(0.2)  # ten times the interval
        assert "WATCHDOG" not in flat(manager.heard())
        assert len([one for one in caplog.messages if status in one]) == 1, "told once"
        health.show("metrics", Mode.RUNNING)
        await until(lambda: "WATCHDOG" in flat(manager.heard()), "food again")


async def test_a_reload_is_told_with_its_time(clock: Clock, manager: Manager) -> None:
    async with reporting(clock, Reports(), Notifier(manager.address)) as (health, report):
        serve(health)
        await until(lambda: "READY" in flat(manager.heard()), "READY")
        before = Clock().readings().monotonic // 1000
        with report.reloading():
            message = next(one for one in manager.heard() if "RELOADING" in one)
            assert message["RELOADING"] == "1"
            assert before <= int(message["MONOTONIC_USEC"]) <= Clock().readings().monotonic // 1000
        assert {"READY": "1"} in manager.heard()


@pytest.mark.parametrize("state", [State.WAITING, State.STARTING, State.STOPPING])
async def test_a_reload_of_what_does_not_serve_is_not_told_for_it_would_end_with_ready(
    clock: Clock, manager: Manager, state: State
) -> None:
    async with reporting(clock, Reports(), Notifier(manager.address)) as (health, report):
        if state is State.STOPPING:
            serve(health)
            await until(lambda: "READY" in flat(manager.heard()), "READY")
        health.enter(state)
        with report.reloading():
            pass
        assert not {"RELOADING", "READY"} & flat(manager.heard()).keys()


async def test_a_stop_that_begins_in_a_reload_is_not_taken_back(clock: Clock, manager: Manager) -> None:
    async with reporting(clock, Reports(), Notifier(manager.address)) as (health, report):
        serve(health)
        await until(lambda: "READY" in flat(manager.heard()), "READY")
        with report.reloading():
            health.enter(State.STOPPING)
        assert "READY" not in flat(manager.heard())


async def test_a_manager_that_is_away_or_full_harms_nobody_and_is_told_later(clock: Clock, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    async with reporting(clock, Reports(), Notifier(path, watchdog=20_000_000)) as (health, _):
        serve(health)
        await asyncio.sleep(0.05)
        manager = Manager(path)
        await until(lambda: {"READY", "STATUS"} <= flat(manager.heard()).keys(), "READY")
        await asyncio.sleep(1)  # nobody reads: the queue is full long before
        manager.close()


def test_the_environment_is_taken_and_not_left_to_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "17")
    notifier = Notifier.take(pids=(4, 17))
    assert notifier.is_heard
    assert notifier.watchdog == 30.0
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    notifier.close()
    assert not Notifier.take(pids=(4,)).is_heard


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@abstract")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "18")
    notifier = Notifier.take(pids=(4, 17))
    assert notifier.watchdog is None
    notifier.close()


def test_a_socket_that_is_none_of_ours_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not Notifier("vsock:2:1234").is_heard
    assert "is no local socket" in caplog.text


# -- by a file


def age_of(file: Path, clock: Clock) -> float:
    picture: dict[str, Any] = json.loads(file.read_text())
    return float(clock.now() - picture["at"]) / 1e9


async def test_the_file_is_young_only_while_the_host_is_live(clock: ShiftedClock, tmp_path: Path) -> None:
    file = tmp_path / "health"
    async with reporting(clock, Reports(file=str(file)), metrics=5.0) as (health, report):
        assert json.loads(file.read_text())["state"] == "waiting for the store"
        serve(health)
        await until(lambda: json.loads(file.read_text())["ready"], "the file")
        clock.shift(6)
        report.change()
        at = json.loads(file.read_text())["at"]
        await asyncio.sleep(0.1)
        report.change()
        await asyncio.sleep(0.1)
        assert json.loads(file.read_text())["at"] == at
        assert age_of(file, clock) > 6
        health.show("metrics", Mode.RUNNING)
        await until(lambda: age_of(file, clock) < 1, "a young file")
    assert not file.exists()


async def test_a_file_that_cannot_be_written_is_one_readable_error(clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "no" / "health"
    with pytest.raises(ConfigurationError, match=f"the health file {file} cannot be written: No such file"):
        async with reporting(clock, Reports(file=str(file))):
            raise AssertionError
