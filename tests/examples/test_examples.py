"""Each example runs as it stands: two instances, work done by one, and by the other when that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.kit.waiting import until as wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(300)
until = partial(wait_until, within=100)  # two instances, from their start on: slow where much else runs
EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def two(name: str, folder: Path, *environments: dict[str, str], **environment: str) -> Iterator[Callable[[int], int]]:
    """Two instances of an example for the length of the block; yields what kills the worker of the active one."""
    processes = []
    for place in (0, 1):
        own = environments[place] if environments else {}
        with (folder / f"{place}.out").open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, str(EXAMPLES / f"{name}.py")],
                    cwd=folder,
                    env={
                        **os.environ,
                        "LOCUM_STORE": f"sqlite:///{folder / 'store.db'}",
                        "LOCUM_INSTANCE": f"web-{place}",
                        **environment,
                        **own,
                    },
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )

    def said(place: int, words: str) -> bool:
        return words in (folder / f"{place}.out").read_text()

    def kill_active(token: int) -> int:
        """End the whole instance that has this token; the place of it."""
        active = until(lambda: [place for place in (0, 1) if said(place, f"(token {token})")], f"token {token}")[0]
        processes[active].kill()
        processes[active].wait()
        return active

    try:
        until(lambda: said(0, "(token 1)") or said(1, "(token 1)"), f"an active one of {name}")
        yield kill_active
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0, "an instance did not end in order"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def rows(database: Path, statement: str) -> list[Any]:
    """What a statement finds; nothing while the table is not there."""
    with closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as connection:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def test_poller(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    with two("poller", tmp_path, POLL_EVERY="0.05") as kill_active:
        until(lambda: len(rows(inbox, "SELECT id FROM inbox")) > 10, "what is new")
        kill_active(1)
        until(lambda: rows(inbox, "SELECT id FROM inbox WHERE fetched_by LIKE '% 2'"), "the next one to go on")
    found = rows(inbox, "SELECT id, CAST(substr(fetched_by, 7) AS INTEGER) FROM inbox ORDER BY id")
    assert [one for one, _ in found] == list(range(1, len(found) + 1)), "something was left out, or fetched twice"
    assert [token for _, token in found] == sorted(token for _, token in found)


def test_cache_refresh(tmp_path: Path) -> None:
    with two("cache_refresh", tmp_path, REFRESH_EVERY="0.1") as kill_active:
        until(lambda: all('prices: {"bread"' in _said(tmp_path, place) for place in (0, 1)), "warm caches everywhere")
        other = 1 - kill_active(1)
        until(lambda: "(token 2)" in _said(tmp_path, other), "the other one to take over")
        before = _price(tmp_path)
        until(lambda: f'{{"bread": {before + 2}}}' in _said(tmp_path, other), "a price that it has made")


def _price(folder: Path) -> int:
    ((price,),) = rows(folder / "prices.db", "SELECT price FROM prices")
    return int(price)


def _said(folder: Path, place: int) -> str:
    return (folder / f"{place}.out").read_text()


def test_work_queue(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.db"
    with two("work_queue", tmp_path) as kill_active:
        for token in (1, 2):
            with closing(sqlite3.connect(jobs, timeout=20)) as connection, connection:
                connection.executemany("INSERT INTO jobs (number) VALUES (?)", [(number,) for number in range(25)])
            until(lambda: not rows(jobs, "SELECT 1 FROM jobs WHERE done_by IS NULL"), "every job to be done")
            if token == 1:
                kill_active(1)
    assert rows(jobs, "SELECT count(*), sum(square = number * number), max(done_by) FROM jobs") == [(50, 50, 2)]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of Redis."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("server not installed: redis")
        pytest.skip("server not installed: redis")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "redis to listen")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_consumer(tmp_path: Path, redis: str) -> None:
    from redis import Redis

    ledger = tmp_path / "ledger.db"
    with two("consumer", tmp_path, REDIS=redis) as kill_active, closing(Redis.from_url(redis)) as stream:
        for token in (1, 2):
            for amount in range(10):
                stream.xadd("payments", {"amount": amount})
            until(partial(_adds_up, ledger, 45 * token), "each to be counted once")
            if token == 1:
                kill_active(1)


def _adds_up(ledger: Path, total: int) -> bool:
    return rows(ledger, "SELECT total FROM ledger") == [(total,)]


def test_web_application(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(listener.getsockname()[1])

    def get(place: int, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[place]}{path}", timeout=10) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    with two("web_application", tmp_path, *({"PORT": str(port)} for port in ports)) as kill_active:
        until(lambda: all(get(place, "/") for place in (0, 1)), "an answer of every instance")
        until(lambda: {get(place, "/")["token"] for place in (0, 1)} == {0, 1}, "one to count")
        other = 1 - kill_active(1)
        until(lambda: get(other, "/")["token"] == 2, "the other one to count")
        shown = get(other, "/locum/health")
        assert (shown["ready"], shown["services"]["count"]["role"]) == (True, "active")


def test_every_example_has_its_test_and_stands_in_the_list() -> None:
    names = {file.stem for file in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text()
    assert {f"test_{name}" for name in names} <= globals().keys()
    assert all(f"`{name}.py`" in listed for name in names)


def test_order_stream_divides_and_loses_nothing() -> None:
    """Two instances, of which one is killed and one is added: the audit is its own, and its exit code says."""
    command = [sys.executable, "run.py", "--seconds", "4", "--instances", "2", "--rate", "60", "--kill", "--json"]
    ran = subprocess.run(
        command, cwd=EXAMPLES / "order_stream", capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (one,) = json.loads(ran.stdout)["runs"]
    assert (one["killed"], one["lost"], one["twice"], one["falling_tokens"]) == (1, 0, 0, 0)
    assert one["orders"] > 100
