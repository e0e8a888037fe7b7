"""A new project runs, and its tests pass, as it was written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from locum import exit_codes
from locum.cli.main import main
from tests.faults.kit.waiting import until
from tests.unit.cli.kit import environment

NAMES = ["README.md", "my_counts.py", "pyproject.toml", "settings.toml", "tests/test_my_counts.py"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my-counts"]) == exit_codes.CLEAN
    return tmp_path / "my-counts"


def test_a_new_project_has_all_that_it_needs(project: Path) -> None:
    assert sorted(str(one.relative_to(project)) for one in project.rglob("*") if one.is_file()) == NAMES
    assert "{{" not in "".join((project / name).read_text() for name in NAMES)


def test_a_new_project_runs_and_can_be_set(project: Path) -> None:
    output = project / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "locum", "run", "--set", "my_counts.interval=0.05"],
            cwd=project,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: output.read_text().count("counted") > 2, "some counts")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == exit_codes.CLEAN, output.read_text()
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())


def test_a_new_project_tests_itself(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_what_is_there_already_is_left_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "my_counts.py").write_text("mine")
    assert main(["new", "my-counts"]) == exit_codes.BAD_CONFIGURATION
    assert "is there already and not empty" in capsys.readouterr().err
    assert (project / "my_counts.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["7up", "../elsewhere", "a b"])
def test_what_cannot_be_a_module_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", name]) == exit_codes.BAD_CONFIGURATION
    assert not list(tmp_path.iterdir())
