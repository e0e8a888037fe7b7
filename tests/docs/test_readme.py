"""The README's program runs as it stands there, and its commands do what it says."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the README's program is billing.py."""
    (tmp_path / "billing.py").write_text(programs("README.md")[0])
    return tmp_path


@pytest.fixture
def instances(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two instances of it, one started in each way."""
    commands = [
        [sys.executable, "billing.py"],
        [sys.executable, "-m", "locum", "run", "billing:host", "--name", "web-2"],
    ]
    started = []
    for number, command in enumerate(commands):
        with (folder / f"{number}.out").open("wb") as output:
            started.append(subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT))
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_the_program_of_the_readme(folder: Path, instances: list[subprocess.Popen[bytes]]) -> None:
    def said(words: str) -> bool:
        return any(words in (folder / f"{number}.out").read_text() for number in (0, 1))

    until(lambda: all("runs settlement, metrics" in (folder / f"{n}.out").read_text() for n in (0, 1)), "two instances")
    until(lambda: said("is active in settlement (token 1)."), "an active one")
    with sqlite3.connect(folder / "orders.db") as orders:
        orders.execute("INSERT INTO orders (id) VALUES (1)")
    orders.close()
    until(lambda: _settled(folder) == [1], "the order to be settled")

    status = json.loads(_locum(folder, "status", "--json"))
    assert len(status["instances"]) == 2
    assert "token 2" in _locum(folder, "resign", "settlement")
    assert "was asked to resign" in _locum(folder, "journal")
    (other,) = (one["name"] for one in status["instances"] if one["name"] != _active(folder))
    assert f"{other} is active in settlement (token 3)" in _locum(folder, "transfer", "settlement", "--to", other)

    for process in instances:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in instances] == [0, 0]


def test_the_script_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(programs("README.md")[1])
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "leads under token 1\n"), done.stderr


def _settled(folder: Path) -> list[int]:
    connection = sqlite3.connect(folder / "orders.db")
    try:
        return [row[0] for row in connection.execute("SELECT settled FROM orders")]
    finally:
        connection.close()


def _active(folder: Path) -> str:
    services = json.loads(_locum(folder, "status", "--json"))["services"]
    return next(str(one["active"]) for one in services if one["name"] == "settlement")


def _locum(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "locum", *arguments, "--app", "billing:host"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
