"""`locum config` shows what would hold, and why; and no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from locum import exit_codes
from locum.cli.main import main

APP = """
from locum import Host
host = Host("billing", store="postgresql://me:pass-word@host/db", config="app.toml")
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"config_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(APP)
    (tmp_path / "app.toml").write_text("[locum]\nttl = 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return name


def test_each_value_with_its_origin_for_people(app: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", app, "--set", "locum.instance=web-1"]) == exit_codes.CLEAN
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "locum.store postgresql://me:***@host/db code" in lines
    assert f"locum.ttl 5.0 {tmp_path}/app.toml: locum.ttl" in lines
    assert "locum.instance web-1 --set locum.instance" in lines


def test_two_hosts_are_one_too_many(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", app, "--app", "another:host"]) == exit_codes.USAGE
    assert f"two hosts are named, {app} and another:host: name one" in capsys.readouterr().err


def test_and_for_programs(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--app", app, "--json", "--ttl", "4"]) == exit_codes.CLEAN
    shown = json.loads(capsys.readouterr().out)
    assert shown["namespace"] == "billing"
    assert {"key": "locum.ttl", "value": 4.0, "origin": "--set locum.ttl"} in shown["settings"]
    assert "pass-word" not in str(shown)


def test_what_is_wrong_is_told(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", app, "--set", "locum.hang_timeout=soon"]) == exit_codes.BAD_CONFIGURATION
    assert "--set locum.hang_timeout='soon' is no number of seconds" in capsys.readouterr().err
    assert main(["config", app, "--set", "nonsense"]) == exit_codes.USAGE
    assert "is not SECTION.KEY=VALUE" in capsys.readouterr().err
