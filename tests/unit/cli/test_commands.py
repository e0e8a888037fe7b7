"""`status`, `resign`, `transfer` and `journal` beside three real instances."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.kit import BILLING, begin, end, locum, on_terminal, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def status(folder: Path) -> dict[str, Any]:
    said = locum(folder, "status", "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def settle(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {one["name"]: one for one in status(folder)["services"]}["settle"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "billing.py").write_text(BILLING)
    (folder / "pyproject.toml").write_text('[tool.locum]\napp = "billing"\n')
    crew = begin(folder, "run", "--name", "web", "--instances", "3")
    try:
        until((folder / "billing.locum.db").exists, "the store")
        until(lambda: locum(folder, "status").code == 0, "the store's tables")
        until(lambda: settle_or_none(folder) == 2, "one active and two in line")
        yield folder
    finally:
        assert end(crew).code == 0


def settle_or_none(folder: Path) -> int | None:
    services = {one["name"]: one for one in status(folder)["services"]}
    found = services.get("settle")
    return len(found["waiting"]) if found and found["active"] and services.get("poll", {}).get("running") == 3 else None


def test_status_for_programs(folder: Path) -> None:
    until(lambda: all(one["beat_age"] is not None for one in status(folder)["instances"]), "the first beat of each")
    found = status(folder)
    assert [one["name"] for one in found["instances"]] == ["web-1", "web-2", "web-3"]
    for one in found["instances"]:
        assert 0 <= one["beat_age"] < 60
        assert one["enforcement"] == "kill"
        assert one["keeper"] != one["worker"]
    assert [one["name"] for one in found["services"]] == ["poll", "settle"]


def test_status_for_a_pipe_is_plain_and_one_line_a_row(folder: Path) -> None:
    said = locum(folder, "status")
    heading, services, instances = said.out.split("\n\n")
    assert heading.startswith("billing on sqlite:///")
    assert services.splitlines()[0].split() == ["SERVICE", "ACTIVE", "TOKEN", "SINCE", "NEXT", "IN", "LINE", "WAITING"]
    assert len(services.splitlines()) == 3
    assert len(instances.strip().splitlines()) == 4
    assert "\x1b" not in said.out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_status_fits_the_terminal(folder: Path, width: int) -> None:
    lines = on_terminal(folder, width, "status")
    assert max(map(len, lines)) <= width


def test_resign_says_who_is_active_now(folder: Path) -> None:
    before = settle(folder)
    said = locum(folder, "resign", "settle")
    assert said.code == 0, said.err
    after = settle(folder)
    assert after["token"] > before["token"]
    assert after["active"] == before["waiting"][0]
    assert f"{after['active']} is active in settle (token {after['token']})" in said.out
    assert said.out.count("\n") == 1
    journal = json.loads(locum(folder, "journal", "settle", "--json").out)["services"][0]
    assert journal["entries"][-1]["token"] == before["token"]
    assert journal["entries"][-1]["why"].startswith("was asked to resign by ")
    assert journal["running"]["token"] == after["token"]


def test_a_request_is_taken_back_when_its_time_is_up(folder: Path) -> None:
    before = settle(folder)
    said = locum(folder, "resign", "settle", "--timeout", "0")
    assert said.code in (0, 1)  # at once is rarely soon enough
    assert requests(folder) == []
    until(lambda: settle(folder)["active"] is not None, "an active instance")
    assert settle(folder)["token"] >= before["token"]


def requests(folder: Path) -> list[str]:
    db = sqlite3.connect(folder / "billing.locum.db")
    found = [key for (key,) in db.execute("SELECT key FROM locum_records WHERE key LIKE 'request/%'")]
    db.close()
    return found


@pytest.mark.parametrize("service", ["nothing", "poll"])
@pytest.mark.parametrize("command", [("resign",), ("transfer", "--to", "web-1")], ids=lambda command: command[0])
def test_what_nobody_is_active_in_cannot_be_given_up(folder: Path, command: tuple[str, ...], service: str) -> None:
    said = locum(folder, *command, service)
    assert (said.code, said.out) == (1, "")
    assert "settle" in said.err


def test_transfer_says_that_the_named_one_is_active_now(folder: Path) -> None:
    until(lambda: settle_or_none(folder) == 2, "one active and two in line")
    before = settle(folder)
    to = before["waiting"][1]
    said = locum(folder, "transfer", "settle", "--to", to)
    assert said.code == 0, said.err
    assert said.out.startswith(
        f"{to} is active in settle (token {before['token'] + 1}): transferred from {before['active']}, all within "
    )
    assert said.out.count("\n") == 1
    assert requests(folder) == []
    after = settle(folder)
    assert (after["active"], after["token"]) == (to, before["token"] + 1)
    entry = json.loads(locum(folder, "journal", "settle", "--json").out)["services"][0]["entries"][-1]
    assert (entry["token"], entry["instance"]) == (before["token"], before["active"])
    assert entry["why"].startswith(f"was transferred to {to} (asked by ")


@pytest.mark.parametrize("to", ["web-9", "the active one"])
def test_a_transfer_to_one_that_does_not_wait_changes_nothing(folder: Path, to: str) -> None:
    until(lambda: settle_or_none(folder) == 2, "one active and two in line")
    before = settle(folder)
    known = to == "the active one"
    said = locum(folder, "transfer", "settle", "--to", before["active"] if known else to)
    assert (said.code, said.out) == (1, "")
    why = "it is the active one already" if known else "it does not wait in line (in line: "
    assert why in said.err
    assert "nothing was changed" in said.err
    assert settle(folder) == before
    assert requests(folder) == []


@pytest.mark.parametrize("arguments", [("settle",), ("settle", "--to", "no name"), ("no name", "--to", "web-1")])
def test_a_transfer_that_cannot_be_meant_is_wrong_use(folder: Path, arguments: tuple[str, ...]) -> None:
    assert locum(folder, "transfer", *arguments).code == 2


def test_a_transfer_that_falls_back_says_so(folder: Path) -> None:
    until(lambda: settle_or_none(folder) == 2, "one active and two in line")
    before = settle(folder)
    to = before["waiting"][1]
    worker = {one["name"]: one["worker"] for one in status(folder)["instances"]}[to]
    os.kill(worker, signal.SIGSTOP)
    try:
        said = locum(folder, "transfer", "settle", "--to", to)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (said.code, said.out) == (1, "")
    assert re.search(rf"web-\d is active in settle \(token \d+\), and not {to}, which did not take over", said.err)
    until(lambda: settle_or_none(folder) == 2, "the named one to stand in line again")


def test_journal_for_people(folder: Path) -> None:
    said = locum(folder, "journal")
    assert said.code == 0
    assert "is active" in said.out
    assert "Nobody has been active" in locum(folder, "journal", "nothing").out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_tells_what_is_new_and_ends_cleanly(folder: Path, number: signal.Signals) -> None:
    watch = begin(folder, "status", "--watch", "--json")
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert locum(folder, "resign", "settle").code == 0
    token = {one["name"]: one["token"] for one in first["services"]}["settle"]
    while {one["name"]: one["token"] for one in json.loads(watch.stdout.readline())["services"]}["settle"] <= token:
        pass
    watch.send_signal(number)
    _, err = watch.communicate(timeout=20)
    assert watch.returncode == 0
    assert "Traceback" not in err


def test_without_an_active_there_is_nothing_to_resign(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    one = begin(tmp_path, "run", "billing:host", "--name", "alone")
    where = ("--store", f"sqlite:///{tmp_path}/billing.locum.db", "--namespace", "billing")
    until(lambda: "alone" in locum(tmp_path, "journal", *where).out, "a term")
    again = locum(tmp_path, "resign", "settle", *where)
    assert "alone is active in settle again" in again.out
    assert end(one).code == 0
    said = locum(tmp_path, "resign", "settle", *where)
    assert said.code == 1
    assert "Nobody is active in settle (was alone)" in said.err
    assert "No instance of billing is running." in locum(tmp_path, "status", *where).out
