"""`locum nodes`: what it does by hand, and what it says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.clock import Clock
from locum.registry import make_store
from tests.unit.cli.kit import begin, end, locum

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.kit import Said

PLACE = ("--store", "sqlite:///store.db", "--namespace", "billing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def make() -> None:
        store = make_store(f"sqlite:///{tmp_path}/store.db", namespace="billing", clock=Clock())
        await store.open()
        await store.close()

    asyncio.run(make())
    return tmp_path


def nodes(folder: Path, *arguments: str) -> Said:
    return locum(folder, "nodes", *arguments, *PLACE)


def test_a_node_is_written_read_listed_and_deleted(folder: Path) -> None:
    made = json.loads(nodes(folder, "set", "config/limits", "10", "--json").out)
    assert (made["path"], made["value"], made["session"]) == ("config/limits", "10", None)
    assert nodes(folder, "get", "config/limits").out == "10"
    assert nodes(folder, "ls", "config").out == f"{made['version']}\tlasting\tconfig/limits\n"
    assert json.loads(nodes(folder, "ls", "--json").out) == [made]
    stale = nodes(folder, "set", "config/limits", "20", "--version", str(made["version"] + 7))
    assert stale.code == exit_codes.SERVICE_FAILED
    assert f"it has version {made['version']}, not {made['version'] + 7}; read it again" in stale.err
    assert nodes(folder, "set", "config/limits", "20", "--version", str(made["version"])).code == exit_codes.CLEAN
    assert nodes(folder, "rm", "config/limits", "--version", str(made["version"])).code == exit_codes.SERVICE_FAILED
    assert nodes(folder, "rm", "config/limits").code == exit_codes.CLEAN
    gone = nodes(folder, "get", "config/limits")
    assert gone.code == exit_codes.SERVICE_FAILED
    assert "there is no node config/limits" in gone.err


def test_a_path_that_cannot_be_one_is_wrong_use(folder: Path) -> None:
    said = nodes(folder, "get", "../secret")
    assert said.code == exit_codes.USAGE
    assert "use 1 to 128 letters" in said.err
    assert nodes(folder, "ls", "a b").code == exit_codes.USAGE
    assert nodes(folder, "get", "").code == exit_codes.USAGE


def test_a_store_that_cannot_be_is_no_wrong_use(folder: Path) -> None:
    said = locum(folder, "nodes", "ls", "--store", "mango://host", "--namespace", "billing")
    assert said.code == exit_codes.BAD_CONFIGURATION
    assert said.err.startswith("locum: no store is known for 'mango'")


def test_a_value_may_come_from_the_standard_input(folder: Path) -> None:
    command = [sys.executable, "-m", "locum", "nodes", "set", "a", "-", *PLACE]
    subprocess.run(command, cwd=folder, input=b"\x00\xff", check=True, capture_output=True)
    assert json.loads(nodes(folder, "get", "a", "--json").out)["hex"] == "00ff"


def test_a_watch_shows_what_is_there_and_each_change_and_ends_cleanly(folder: Path) -> None:
    watching = begin(folder, "nodes", "watch", "a", "--json", *PLACE)
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline()) is None
    nodes(folder, "set", "a", "1")
    assert json.loads(watching.stdout.readline())["value"] == "1"
    assert end(watching).code == exit_codes.CLEAN
