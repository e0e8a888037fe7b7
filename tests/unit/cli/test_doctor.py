"""How `locum doctor` prints what it found, and what it does with a host."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.cli.examination.finding import Level
from locum.clock import Clock
from locum.registry import make_store
from tests.unit.cli.kit import BILLING, locum, on_terminal

if TYPE_CHECKING:
    from pathlib import Path


async def made(url: str) -> None:
    store = make_store(url, namespace="billing", clock=Clock())
    await store.open()
    await store.close()


@pytest.mark.parametrize("width", [60, 80])
def test_it_fits_the_terminal_and_nothing_is_cut_off(tmp_path: Path, width: int) -> None:
    lines = on_terminal(tmp_path, width, "doctor")
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert any(line.startswith("What holds here") for line in lines)


def test_for_a_pipe_it_is_plain_and_one_line_a_finding(tmp_path: Path) -> None:
    said = locum(tmp_path, "doctor")
    assert said.code == exit_codes.CLEAN, said.out
    assert "\x1b" not in said.out
    assert said.err == ""
    assert "No store was looked at" in said.out
    (timer,) = [line for line in said.out.splitlines() if "Kernel timer, process stopped" in line]
    assert timer.startswith("holds ")


def test_a_host_that_has_not_run_yet_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    (tmp_path / "pyproject.toml").write_text('[tool.locum]\napp = "billing"\n')
    said = locum(tmp_path, "doctor")
    assert said.code == exit_codes.CLEAN, said.out
    assert f"{tmp_path}/billing.locum.db" in said.out
    assert "File system" in said.out
    assert not (tmp_path / "billing.locum.db").exists()


def test_a_host_that_is_not_there_is_bad_configuration(tmp_path: Path) -> None:
    said = locum(tmp_path, "doctor", "--app", "nothing_here")
    assert (said.code, said.out) == (exit_codes.BAD_CONFIGURATION, "")
    assert "nothing_here" in said.err


def test_a_store_that_is_no_database_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, however one looks at it" * 100)
    said = locum(tmp_path, "doctor", "--json", "--store", "sqlite:///text.db", "--namespace", "b")
    assert said.code == exit_codes.STORE_UNAVAILABLE
    found = {one["id"]: one for area in json.loads(said.out)["areas"] for one in area["findings"]}
    assert found["store"]["level"] == "does not hold"
    assert "not a database" in found["store"]["fact"]
    assert found["file-system"]["level"] in ("holds", "weaker")


def test_help_lists_the_exit_codes_one_a_line(tmp_path: Path) -> None:
    lines = [line.split() for line in locum(tmp_path, "doctor", "--help").out.splitlines()]
    assert {"0", "1", "2", "69", "78"} <= {line[0] for line in lines if line}


def test_a_store_is_looked_at_without_a_host(tmp_path: Path) -> None:
    asyncio.run(made(f"sqlite:///{tmp_path}/b.db"))
    said = locum(tmp_path, "doctor", "--store", "sqlite:///b.db")
    assert said.code == exit_codes.CLEAN, said.out
    (promised,) = [line for line in said.out.splitlines() if "What it promises" in line]
    assert "checks sessions and grant in one step" in promised
    assert "Who is on the store was not looked at" in said.out
    assert "No instance of" not in said.out


def test_where_no_store_is_yet_nothing_is_said_to_be_broken(tmp_path: Path) -> None:
    said = locum(tmp_path, "doctor", "--json", "--store", "sqlite:///none.db")
    assert said.code == exit_codes.STORE_UNAVAILABLE
    (store,) = [one for area in json.loads(said.out)["areas"] for one in area["findings"] if one["id"] == "store"]
    assert store["level"] == Level.NOTE.value
    assert "there is no store yet" in store["fact"]
    assert not (tmp_path / "none.db").exists()
