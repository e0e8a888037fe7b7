"""A start that cannot be says why in one sentence, and leaves with the right code; one that may yet be waits."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.faults.kit.waiting import until
from tests.unit.cli.kit import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    command, output = write(tmp_path, way), tmp_path / "output"
    url = {"LOCUM_STORE": f"sqlite:///{tmp_path}/store.db"}
    with output.open("wb") as file, held(tmp_path / "store.db"):
        process = subprocess.Popen(command, cwd=tmp_path, env={**environment(), **url}, stderr=file)
        try:
            until(lambda: "waits for its store: " in output.read_text(), "it to say that it waits", within=60)
        except BaseException:
            process.kill()
            process.wait()
            raise
        assert process.poll() is None
        assert "polls" not in output.read_text()
    try:
        until(lambda: "polls" in output.read_text(), "it to run", within=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == exit_codes.CLEAN
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())
    assert output.read_text().count("waits for its store: ") <= 2  # at once, and then every 15 s


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
