"""The table of stores and faults (docs/stores/faults.md) says of each row and store whether a test holds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.faults.kit.places import STORES

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/stores/faults.md"
FENCE: Final = "tests/unit/coordination/test_fence_postgresql.py"
"""Where F49 takes place: it is about the user's own database."""
ALWAYS, THOROUGH, NOWHERE = "yes", "full", "—"
NOT_OF_A_STORE: Final = {"F10", "F11", "F12", "F13", "F14", "F26", "F27", "F28", "F29"}
"""Rows about processes, clocks and machines, which are held on a file alone."""
CONTRACTS: Final = "F68"
"""From here on the rows are about what contracts hold every store to, and about jobs, which live in a database."""

_TEST: Final = (
    r"tests/(?:faults/test|unit/coordination/test_fence)_(\w+)\.py::test_((?:f\d\d_(?:and_)?)+)\w*(?:\[(.*)\])?$"
)

Cells = dict[tuple[str, str], str]


def of_page(text: str) -> Cells:
    """What the table says: by row and store."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]
    head = [cell.lower() for cell in lines[0]]
    return {
        (line[0], store): line[head.index(store)].partition(";")[0]
        for line in lines[2:]
        for store in head
        if store in STORES
    }


def of_tests(nodes: list[str]) -> set[tuple[str, str]]:
    """Which rows take place on which stores, as the tests are called."""
    found = set()
    for node in nodes:
        name = re.match(_TEST, node)
        if name is None:
            continue
        named = [store for store in STORES if store in (name[3] or "").split("-") or name[1] == store]
        for row in re.findall(r"f\d\d", name[2]):
            found.add((row.upper(), named[0] if named else STORES[0]))
    return {(row, store) for row, store in found if row < CONTRACTS and row not in NOT_OF_A_STORE}


def collected(*, full: bool) -> set[tuple[str, str]]:
    """The tests that there are."""
    environment = {**os.environ, "LOCUM_FULL": "1" if full else "0"}
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests/faults", FENCE]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return of_tests(said.splitlines())


def expected(small: set[tuple[str, str]], full: set[tuple[str, str]]) -> Cells:
    """What the table must say."""
    rows = {row for row, _ in full}
    return {
        (row, store): ALWAYS if (row, store) in small else THOROUGH if (row, store) in full else NOWHERE
        for row in rows
        for store in STORES
    }


@pytest.mark.timeout(600)  # all fault tests are collected twice
def test_the_table_says_what_is_tested() -> None:
    said, held = of_page(PAGE.read_text()), expected(collected(full=False), collected(full=True))
    assert said == held, "\n".join(
        f"{row} on {store}: the page says {said.get((row, store))}, the tests {held.get((row, store))}"
        for row, store in sorted(said.keys() | held.keys())
        if said.get((row, store)) != held.get((row, store))
    )


def test_a_table_is_read_by_rows_and_stores() -> None:
    text = "| row | what | Redis | SQLite |\n| --- | --- | --- | --- |\n| F01 | dies | yes; at once | — |\n"
    assert of_page(text) == {("F01", "redis"): "yes", ("F01", "sqlite"): "—"}


def test_rows_and_stores_are_read_from_the_names_of_tests() -> None:
    nodes = [
        "tests/faults/test_kills.py::test_f01_worker_killed[redis]",
        "tests/faults/test_bodies.py::test_f05_planned_end[postgresql-resigned]",
        "tests/faults/test_store_faults.py::test_f33_a_store_that_cannot_be_written[filled]",
        "tests/faults/test_redis.py::test_f43_clients_killed",
        "tests/unit/coordination/test_fence_postgresql.py::test_f49_a_killed_worker_s_transaction_has_ended",
        "tests/faults/test_judges.py::test_that_is_no_row",
        "tests/faults/test_many.py::test_f12_store_writes_do_not_grow[1]",
    ]
    held = {("F01", "redis"), ("F05", "postgresql"), ("F33", "sqlite"), ("F43", "redis"), ("F49", "postgresql")}
    assert of_tests(nodes) == held
