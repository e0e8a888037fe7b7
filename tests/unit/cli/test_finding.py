"""How a command finds its host and its store, and what it says where it does not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.cli.app import app_name
from locum.cli.main import main
from locum.errors import ConfigurationError
from tests.unit.cli.kit import BILLING, locum

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_given_wins(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.locum]\napp = "other:host"\n')
    assert app_name("billing") == "billing"


def test_the_nearest_pyproject_upwards_names_the_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text('[tool.locum]\napp = "billing:host"\n')
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert app_name(None) == "billing:host"


@pytest.mark.parametrize("text", ["", "[tool.locum]\n", "[tool.locum]\napp = 3\n", "[tool", "tool = 1\n"])
def test_a_pyproject_that_names_none_is_pointed_at(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        app_name(None)


def test_no_name_at_all_is_bad_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "status", "journal"):
        assert main([command]) == exit_codes.BAD_CONFIGURATION
        assert "[tool.locum]" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_store_without_a_host_is_told_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "journal"):
        assert main([command, "--store", "redis://owner:secret@127.0.0.1:1/0"]) == exit_codes.BAD_CONFIGURATION
        said = capsys.readouterr().err
        assert "--namespace NAME" in said
        assert "secret" not in said


def test_looking_makes_no_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status"], ["status", "--watch"], ["resign", "settle"], ["journal"]):
        assert main([*arguments, "--store", "sqlite:///x.db", "--namespace", "billing"]) == exit_codes.STORE_UNAVAILABLE
        said = capsys.readouterr().err
        assert "there is no store yet" in said
        assert said.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_looking_makes_no_store_of_what_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(folder / "orders.db") as db:
        db.execute("CREATE TABLE orders (id)")
    db.close()
    (folder / "text.db").write_text("this is no database, however one looks at it" * 100)
    for name in ("orders.db", "text.db"):
        assert main(["status", "--store", f"sqlite:///{name}", "--namespace", "b"]) == exit_codes.STORE_UNAVAILABLE
    assert {one.name for one in folder.iterdir()} == {"orders.db", "text.db"}
    with sqlite3.connect(folder / "orders.db") as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    db.close()


def test_a_store_of_no_known_kind_is_bad_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--store", "carrier-pigeon://x", "--namespace", "b"]) == exit_codes.BAD_CONFIGURATION
    assert "carrier-pigeon" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["resign"],
        ["status", "--no-such-option"],
        ["resign", "../x", "--store", "sqlite:///x.db", "--namespace", "b"],
        ["run", "x", "--instances", "0"],
    ],
)
def test_a_wrong_command_line_is_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == exit_codes.USAGE
    assert "Error:" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--ttl", "0.1"), ("--ttl", "nan"), ("--name", "no such name")])
def test_a_run_that_cannot_be_is_refused_before_it_begins(option: str, value: str) -> None:
    assert main(["run", "billing", option, value]) == exit_codes.BAD_CONFIGURATION


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("locum ")
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("run", "status", "resign", "journal", "doctor", "demo"))


def test_the_store_is_the_hosts_own_and_the_environment_overrides_it(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    said = locum(tmp_path, "status", "--app", "billing")
    assert said.code == exit_codes.STORE_UNAVAILABLE
    assert f"{tmp_path}/billing.locum.db" in said.err
    assert said.out == ""
    said = locum(tmp_path, "status", "--app", "billing:host", "--store", "sqlite:///other.db")
    assert f"{tmp_path}/other.db" in said.err


@pytest.mark.parametrize(("app", "word"), [("nothing_here", "no module"), ("billing:nothing", "no host")])
def test_a_host_that_is_not_there_is_bad_configuration(tmp_path: Path, app: str, word: str) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    said = locum(tmp_path, "status", "--app", app)
    assert (said.code, said.out) == (exit_codes.BAD_CONFIGURATION, "")
    assert word in said.err
    assert "Traceback" not in said.err


def test_whoever_looks_never_becomes_an_instance(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING + "\nhost.run()\n")
    said = locum(tmp_path, "status", "--app", "billing")
    assert said.code == exit_codes.BAD_CONFIGURATION
    assert "__main__" in said.err
    assert not (tmp_path / "billing.locum.db").exists()


def test_a_command_loads_what_it_needs_and_nothing_else() -> None:
    code = "import sys, locum.cli.main as m; m.main(['--version']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "locum.cli.main" in loaded
    assert not {"rich", "sqlite3", "locum.cli.run", "locum.cli.status", "locum.host.host"} & set(loaded)
