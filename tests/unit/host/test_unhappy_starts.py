"""A start that cannot be says why in one sentence, and leaves with the right code; one that may yet be waits."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.testing.conformance import demand_server
from tests.faults.kit.waiting import until
from tests.servers.postgresql import Postgresql
from tests.servers.redis import Redis
from tests.unit.cli.kit import environment
from tests.unit.stores.kit import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = """
from pydantic import BaseModel
from locum import Host, Options, Stopping

class Billing(BaseModel):
    rate: int = 1

class Mail: ...

host = Host("billing")
host.options(Billing)

@host.background
async def poll(stopping: Stopping, options: Options[Billing]{more}) -> None:
    stopping.log.info("polls")
    await stopping.sleep(3600)

if __name__ == "__main__":
    host.run({run})
"""

WAYS = {
    "locum run": ["-m", "locum", "run", "app"],
    "host.run()": ["app.py"],
    "embedded": ["app.py"],
}


def write(folder: Path, way: str, more: str = "") -> list[str]:
    run = "embedded=True" if way == "embedded" else ""
    (folder / "app.py").write_text(APP.format(more=more, run=run))
    return [sys.executable, *WAYS[way]]


def fails(folder: Path, command: list[str], **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=folder, env={**environment(), **variables}, capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_settings_that_are_wrong(tmp_path: Path, way: str) -> None:
    code, said = fails(tmp_path, write(tmp_path, way), BILLING_RATE="often", LOCUM_TTL="soon")
    assert code == exit_codes.BAD_CONFIGURATION
    first, *rest = said.splitlines()
    assert first.endswith("ERROR billing cannot run: 2 settings are wrong:")
    assert [line.partition(": I")[0] for line in rest] == [
        "  - environment: LOCUM_TTL='soon' is no number of seconds",
        "  - environment: BILLING_RATE",
    ]
    assert list(tmp_path.glob("*.db")) == []  # nothing was started


@pytest.mark.parametrize("way", WAYS)
def test_a_collaborator_that_nobody_provides(tmp_path: Path, way: str) -> None:
    code, said = fails(tmp_path, write(tmp_path, way, ", mail: Mail"))
    assert code == exit_codes.BAD_CONFIGURATION
    assert len(said.splitlines()) == 1
    assert "poll asks for Mail ('mail'), and nothing provides it: host.provide(...) a function" in said


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("nosuch://host/db", "no store is known for 'nosuch': use one of"),
        ("billing.db", "'billing.db' is no store URL: write it like sqlite:///billing.db"),
        ("sqlite:////no/such/folder/billing.db", "the folder /no/such/folder of the store does not exist: make it"),
    ],
)
def test_a_store_that_can_never_be(tmp_path: Path, way: str, store: str, sentence: str) -> None:
    code, said = fails(tmp_path, write(tmp_path, way), LOCUM_STORE=store)
    assert code == exit_codes.BAD_CONFIGURATION
    assert len(said.splitlines()) == 1
    assert sentence in said


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Nobody can write, nor make, the store's tables."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE held (number INTEGER)")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_is_down_is_waited_for_and_told(tmp_path: Path, way: str) -> None:
    with ExitStack() as outage:
        outage.enter_context(held(tmp_path / "store.db"))
        said = _waited_for(tmp_path, way, f"sqlite:///{tmp_path}/store.db", outage.close)
    assert said.count("waits for its store: ") <= 2  # at once, and then every 15 s


def test_one_that_waits_may_be_stopped(tmp_path: Path) -> None:
    command, output = write(tmp_path, "locum run"), tmp_path / "output"
    url = {"LOCUM_STORE": f"sqlite:///{tmp_path}/store.db"}
    with output.open("wb") as file, held(tmp_path / "store.db"):
        process = subprocess.Popen(command, cwd=tmp_path, env={**environment(), **url}, stderr=file)
        try:
            until(lambda: "waits for its store: " in output.read_text(), "it to say that it waits", within=60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == exit_codes.CLEAN
        finally:
            process.kill()
            process.wait()


# -- servers


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """One that wants a password, and does not run yet."""
    demand_server("redis", Redis.is_installed())
    made = Redis(tmp_path / "redis", settings={"requirepass": PASSWORD})
    yield made
    made.kill()


@pytest.fixture
def postgresql() -> Iterator[Postgresql]:
    """One that wants a password, and does not run yet."""
    demand_server("postgresql", Postgresql.is_installed())
    made = Postgresql()
    yield made
    made.kill()


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_password_is_one_sentence_without_it(tmp_path: Path, redis: Redis, way: str) -> None:
    redis.start()
    _refused(tmp_path, way, f"redis://:{PASSWORD[::-1]}@127.0.0.1:{redis.port}/0")


def test_a_wrong_password_of_postgresql_is_one_sentence_without_it(tmp_path: Path, postgresql: Postgresql) -> None:
    postgresql.start()
    url = f"postgresql://owner:{PASSWORD[::-1]}@127.0.0.1:{postgresql.port}/postgres"
    _refused(tmp_path, "locum run", url)


def _refused(folder: Path, way: str, url: str) -> None:
    code, said = fails(folder, write(folder, way), LOCUM_STORE=url)
    assert code == exit_codes.BAD_CONFIGURATION, said
    assert len(said.splitlines()) == 1
    assert "refuses this user or password" in said
    assert PASSWORD[::-1] not in said


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_is_down_is_waited_for_and_told(tmp_path: Path, redis: Redis, way: str) -> None:
    said = _waited_for(tmp_path, way, f"redis://:{PASSWORD}@127.0.0.1:{redis.port}/0", redis.start)
    assert f"the store redis://127.0.0.1:{redis.port}/0 is not available" in said
    assert PASSWORD not in said


def test_a_postgresql_that_is_down_is_waited_for_and_told(tmp_path: Path, postgresql: Postgresql) -> None:
    url = f"postgresql://owner:{postgresql.password}@127.0.0.1:{postgresql.port}/postgres"
    said = _waited_for(tmp_path, "locum run", url, postgresql.start)
    assert f"127.0.0.1:{postgresql.port}/postgres is not available" in said
    assert postgresql.password not in said


def _waited_for(folder: Path, way: str, url: str, come: Callable[[], object]) -> str:
    """An instance waits until its store has come, and runs then; what it has said."""
    command, output = write(folder, way), folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env={**environment(), "LOCUM_STORE": url}, stderr=file)
    try:
        until(lambda: "waits for its store: " in output.read_text(), "it to say that it waits", within=60)
        assert process.poll() is None
        assert "polls" not in output.read_text()
        come()
        until(lambda: "polls" in output.read_text(), "it to run", within=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == exit_codes.CLEAN
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())
    return output.read_text()
