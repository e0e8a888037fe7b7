"""Health of real instances: told to a real socket by the worker, under its keeper, and asked by HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.identity import parent_of
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import asyncio, os, time
from pathlib import Path
from locum import Host, Stopping, Term

host = Host("billing", store="sqlite:///store.db", ttl=2.0, hang_timeout=20)

@host.active_passive(stop_timeout=20)
async def settle(term: Term) -> None:
    Path("environment").write_text(os.environ.get("NOTIFY_SOCKET", "none"))
    async for _ in term.every(0.02):
        if Path("silent").exists():
            await asyncio.sleep(3600)
        if Path("hold").exists():
            Path("hold").unlink()
            time.sleep(3)

@host.background(stop_timeout=20)
async def metrics(stopping: Stopping) -> None:
    try:
        while True:
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        while Path("slow").exists():
            await asyncio.sleep(0.02)
        raise

host.critical("settle", within=1.0)

if __name__ == "__main__":
    host.run(embedded=True)
"""


ANYWHERE = "127.0.0.1:0"


class Manager:
    """Stands in for systemd: its socket, and who sent what."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.fields: dict[str, str] = {}
        self.order: list[str] = []
        self.senders: dict[str, int] = {}

    def look(self) -> Manager:
        """Take in what came."""
        while True:
            try:
                data, ancillary, *_ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self
            (pid, _, _) = struct.unpack("iii", ancillary[0][2][:12])
            for line in data.decode().splitlines():
                name, _, value = line.partition("=")
                self.fields[name] = value
                self.order.append(name)
                self.senders[name] = pid

    def hears(self, **fields: str) -> bool:
        return fields.items() <= self.look().fields.items()

    def hears_again(self, name: str) -> bool:
        """Whether a field came since it was last forgotten."""
        return name in self.look().fields

    def forget(self) -> None:
        self.look()
        self.fields.clear()
        self.order.clear()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "billing.py").write_text(APP)
    return tmp_path


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@contextmanager
def running(folder: Path, *command: str, output: str = "out", **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """An instance as a service manager would start it: the pid that it knows is the watchdog's."""
    starter = "import os, sys; os.environ['WATCHDOG_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
    with (folder / output).open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", starter, sys.executable, *(command or ("-m", "locum", "run", "billing:host"))],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def says(folder: Path, words: str) -> None:
    """Wait until it has said so."""
    until(lambda: words in (folder / "out").read_text(), words)


def port_of(folder: Path, output: str = "out") -> int:
    """Where an instance answers, as it says."""

    def said() -> list[str]:
        return re.findall(r"health is answered on port (\d+)", (folder / output).read_text())

    return int(until(said, "an instance that answers")[-1])


def ask(port: int, path: str) -> tuple[int, str] | None:
    """The answer to a probe; nothing if nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None


def picture(port: int) -> dict[str, Any]:
    answer = ask(port, "/health")
    assert answer is not None
    found: dict[str, Any] = json.loads(answer[1])
    return found


@pytest.mark.parametrize("way", ["kept", "embedded"])
def test_systemd_is_told_by_the_worker_through_a_whole_life(folder: Path, manager: Manager, way: str) -> None:
    command = ("billing.py",) if way == "embedded" else ()
    with running(folder, *command, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="300000") as process:
        until(lambda: manager.hears(READY="1", STATUS="active token=1"), "READY")
        until(lambda: manager.hears(WATCHDOG="1"), "food for the watchdog")
        assert (folder / "environment").read_text() == "none", "a child of ours could speak for us"
        sender = manager.senders["READY"]
        keeper = parent_of(sender)
        above = [sender] if way == "embedded" else [keeper, parent_of(keeper or 0)]
        assert process.pid in above, "whoever sends is of the instance that the manager started"

        (folder / "slow").touch()
        process.send_signal(signal.SIGTERM)
        until(lambda: manager.hears(STOPPING="1"), "STOPPING")
        manager.forget()
        for _ in range(3):
            until(lambda: manager.hears(EXTEND_TIMEOUT_USEC="15000000"), "more time, as long as it drains")
            manager.forget()
        (folder / "slow").unlink()
        assert process.wait(30) == 0


def test_the_watchdog_starves_when_a_critical_service_does_not_beat(folder: Path, manager: Manager) -> None:
    with running(folder, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="300000") as process:
        until(lambda: manager.hears(READY="1", WATCHDOG="1"), "READY")
        (folder / "silent").touch()
        until(lambda: "settle has not beaten" in manager.look().fields.get("STATUS", ""), "a sentence in STATUS")
        manager.forget()
        pass_by(1.0)
        assert not manager.hears_again("WATCHDOG")
        assert process.poll() is None


def test_the_watchdog_starves_while_the_loop_does_not_turn(folder: Path, manager: Manager) -> None:
    with running(folder, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="300000"):
        until(lambda: manager.hears(READY="1", WATCHDOG="1"), "READY")
        (folder / "hold").touch()
        until(lambda: not (folder / "hold").exists(), "the loop to be held up")
        manager.forget()
        pass_by(1.0)
        assert not manager.hears_again("WATCHDOG")
        until(lambda: manager.hears_again("WATCHDOG"), "food again, when it turns again")


@pytest.mark.parametrize("way", ["kept", "embedded"])
def test_systemd_is_told_of_a_reload_as_it_asks_for_it(folder: Path, manager: Manager, way: str) -> None:
    """As `Type=notify-reload` has it: RELOADING with the clock that systemd compares, and READY when it is over."""
    (folder / "settings.toml").write_text("[locum]\nlog_level = 'info'\n")
    command = ("billing.py",) if way == "embedded" else ()
    environment = {"NOTIFY_SOCKET": str(manager.path), "LOCUM_CONFIG": "settings.toml"}
    with running(folder, *command, **environment) as process:
        until(lambda: manager.hears(READY="1", STATUS="active token=1"), "READY")
        for text, said in (
            ("[locum]\nlog_level = 'info'\nttl = 3\n", "heeded at the next start only: locum.ttl"),
            ("[locum]\nttl = 'soon'\n", "were not taken over, the last good ones stay"),
        ):
            (folder / "settings.toml").write_text(text)
            manager.forget()
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            process.send_signal(signal.SIGHUP)
            until(lambda: manager.hears(RELOADING="1", READY="1"), "the reload, to its end")
            assert [one for one in manager.order if one in ("RELOADING", "MONOTONIC_USEC", "READY")] == [
                "RELOADING",
                "MONOTONIC_USEC",
                "READY",
            ]
            told = int(manager.fields["MONOTONIC_USEC"])
            assert before <= told <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            says(folder, said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_reload_while_the_store_is_waited_for_is_no_ready(folder: Path, manager: Manager) -> None:
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE held (number INTEGER)")
        with running(folder, NOTIFY_SOCKET=str(manager.path)) as process:
            says(folder, "waits for its store")
            process.send_signal(signal.SIGHUP)
            says(folder, "The settings were read again")
            manager.forget()
            until(lambda: manager.hears_again("EXTEND_TIMEOUT_USEC"), "one more turn of the wait")
            assert not {"READY", "RELOADING"} & set(manager.order)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_a_new_worker_speaks_for_the_instance(folder: Path, manager: Manager) -> None:
    with running(folder, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="300000"):
        until(lambda: manager.hears(READY="1", STATUS="active token=1"), "READY")
        first = manager.senders["READY"]
        os.kill(first, signal.SIGKILL)
        until(lambda: manager.hears(STATUS="active token=2", WATCHDOG="1"), "the next one")
        assert manager.senders["WATCHDOG"] != first


def test_a_watchdog_of_another_process_is_not_fed(folder: Path, manager: Manager) -> None:
    command = [sys.executable, "-m", "locum", "run", "billing:host"]
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        until(lambda: manager.hears(READY="1", STATUS="active token=1"), "READY")
        pass_by(0.5)
        assert not manager.hears_again("WATCHDOG")
    finally:
        process.kill()
        process.wait()


def test_a_store_that_is_away_at_the_start_is_waited_for_alive_and_not_ready(folder: Path, manager: Manager) -> None:
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with running(folder, NOTIFY_SOCKET=str(manager.path), LOCUM_HEALTH=ANYWHERE) as process:
            port = port_of(folder)
            until(lambda: ask(port, "/livez") == (200, "live\n"), "a live one")
            until(lambda: manager.hears(STATUS="waiting for the store", EXTEND_TIMEOUT_USEC="15000000"), "the wait")
            code, text = ask(port, "/readyz") or (0, "")
            assert (code, "is waiting for the store" in text) == (503, True)
            assert (ask(port, "/active") or (0,))[0] == 503
            assert "READY" not in manager.look().fields
            other.execute("ROLLBACK")
            other.close()
            until(lambda: ask(port, "/readyz") == (200, "ready\n"), "a ready one")
            until(lambda: manager.hears(READY="1"), "READY")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_load_balancers_find_the_active_one_and_follow_it(folder: Path) -> None:
    with (
        running(folder, output="first", LOCUM_HEALTH=ANYWHERE) as first,
        running(folder, output="second", LOCUM_HEALTH=ANYWHERE) as second,
    ):
        ports = [port_of(folder, output) for output in ("first", "second")]

        def answers(path: str) -> list[int]:
            return sorted((ask(port, path) or (0,))[0] for port in ports)

        until(lambda: answers("/active") == answers("/standby/settle") == [200, 503], "one active and one standby")
        (active,) = [place for place, port in enumerate(ports) if ask(port, "/active") == (200, "active\n")]
        assert picture(ports[active])["services"]["settle"]["token"] == 1
        (first, second)[active].send_signal(signal.SIGTERM)
        until(lambda: ask(ports[1 - active], "/active?service=settle") == (200, "active\n"), "its successor")
        assert (first, second)[active].wait(30) == 0
        assert ask(ports[active], "/active") is None
        shown = picture(ports[1 - active])["services"]["settle"]
        assert (shown["role"], shown["token"], shown["last_beat"] < 20) == ("active", 2, True)


@pytest.mark.parametrize("way", ["kept", "embedded"])
def test_a_rejected_reload_is_shown_until_the_settings_are_mended(folder: Path, manager: Manager, way: str) -> None:
    settings = folder / "billing.toml"
    settings.write_text("")
    command = ("billing.py",) if way == "embedded" else ()
    environment = {"LOCUM_CONFIG": str(settings), "NOTIFY_SOCKET": str(manager.path), "LOCUM_HEALTH": ANYWHERE}
    with running(folder, *command, **environment) as process:
        port = port_of(folder)
        until(lambda: ask(port, "/readyz") == (200, "ready\n"), "a ready one")
        assert picture(port)["settings"] == {"rejected": None, "at_next_start": []}
        settings.write_text("[locum]\nttl = 'soon'\n")
        process.send_signal(signal.SIGHUP)
        shown = until(lambda: picture(port)["settings"]["rejected"], "the rejection")
        assert "locum.ttl='soon' is no number of seconds" in shown
        assert ask(port, "/readyz") == (200, "ready\n")
        until(lambda: "not taken over" in manager.look().fields.get("STATUS", ""), "the status line")
        settings.write_text("[locum]\nttl = 4\n")
        process.send_signal(signal.SIGHUP)
        mended = {"rejected": None, "at_next_start": ["locum.ttl"]}
        until(lambda: picture(port)["settings"] == mended, "the mended ones")


@pytest.mark.parametrize("way", ["kept", "embedded"])
def test_a_port_in_use_is_one_readable_error_and_78(folder: Path, way: str) -> None:
    command = ("billing.py",) if way == "embedded" else ()
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with running(folder, *command, LOCUM_HEALTH=address) as process:
            assert process.wait(30) == 78
    (line,) = (folder / "out").read_text().splitlines()
    assert f"billing cannot run: the health server cannot listen on {address}: " in line
    assert "choose another address" in line


def test_the_command_tells_by_the_file(folder: Path) -> None:
    file = folder / "health"

    def locum(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "locum", "health", "--file", str(file), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    def probe() -> int:
        line = f"test $(( $(date +%s) - $(stat -c %Y {file}) )) -lt 10"  # as the page on health has it
        return subprocess.run(["sh", "-c", line], stderr=subprocess.DEVNULL, check=False).returncode

    assert locum() == (1, f"{file} is not there: no instance has begun to write it, or it was stopped.\n")
    assert probe() != 0
    with running(folder, LOCUM_HEALTH_FILE=str(file), LOCUM_INSTANCE="web-1") as process:
        until(lambda: locum("--ready") == (0, "web-1 is ready.\n"), "a ready one")
        assert probe() == 0
        assert json.loads(locum("--json")[1])["picture"]["services"]["settle"]["role"] == "active"
        (folder / "silent").touch()
        until(lambda: locum("--within", "2")[0] == 1, "a file that grows old")
        assert "and 2 s are the limit" in locum("--within", "2")[1]
        (folder / "silent").unlink()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert locum()[0] == 1
    file.write_text("{")
    assert "cannot be read" in locum()[1]
