"""The programs of the page on plain functions run as they stand there."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = "docs/how-to/plain-functions.md"


def test_the_program_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(programs(PAGE)[0])
    output = tmp_path / "out"
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "billing.py"], cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT)
    try:
        until(_says(output, "is active in settle (token 1)."), "an active one")
        until(
            lambda: (
                (tmp_path / "orders.db").exists()
                and _orders(tmp_path, "SELECT 1 FROM sqlite_master WHERE name = 'orders'")
            ),
            "the table of orders",
        )
        _orders(tmp_path, "INSERT INTO orders (id) VALUES (1)")
        until(lambda: _orders(tmp_path, "SELECT 1 FROM orders WHERE settled"), "the order to be settled")
        until(_says(output, "somebody should pay"), "a reminder")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())  # shown if this fails


def test_the_script_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(programs(PAGE)[1])
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "part 0\npart 1\npart 2\n"), done.stderr


def _says(output: Path, words: str) -> Callable[[], bool]:
    return lambda: words in output.read_text()


def _orders(folder: Path, statement: str) -> list[tuple[int]]:
    with closing(sqlite3.connect(folder / "orders.db", timeout=10)) as connection, connection:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
