"""The programs of the pages on settings, collaborators and logging run as they stand."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def running(folder: Path, *options: str, **variables: str) -> Iterator[Callable[[], str]]:
    """An instance of billing.py; it leaves cleanly at the end."""
    output = folder / "output"
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("LOCUM_", "BILLING_"))}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "locum", "run", "billing", *options],
            cwd=folder,
            env={**environment, **variables},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield output.read_text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == exit_codes.CLEAN
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())


def test_the_page_on_settings(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(programs("docs/how-to/settings.md")[0])
    settings = tmp_path / "billing.toml"
    settings.write_text(programs("docs/how-to/settings.md", "toml")[0])
    with running(tmp_path) as said:
        until(lambda: said().count("polled") > 1, "two polls", within=60)
        settings.write_text(settings.read_text().replace("0.5", "0.25"))
        until(lambda: "the interval is 0.25" in said(), "the change", within=60)
        settings.write_text("[billing")
        until(lambda: "the last good ones stay" in said(), "the slip to be told", within=60)
        polled = said().count("polled")
        until(lambda: said().count("polled") > polled + 1, "it to go on")


def test_what_is_wrong_with_settings_as_the_page_shows_it(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(programs("docs/how-to/settings.md")[0])
    (tmp_path / "billing.toml").write_text("")
    shown = next(one for one in programs("docs/how-to/settings.md", "console") if "are wrong" in one).splitlines()
    done = subprocess.run(
        [sys.executable, "-m", "locum", "run", "billing"],
        cwd=tmp_path,
        env={**os.environ, "BILLING_INTERVAL": "often"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == exit_codes.BAD_CONFIGURATION
    said = done.stderr.splitlines()
    assert said[0].partition(" ")[2] == shown[1].partition(" ")[2]
    assert sorted(said[1:]) == sorted(shown[2:])


def test_the_page_on_collaborators(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(programs("docs/how-to/collaborators.md")[0])
    with running(tmp_path) as said:
        until(lambda: "same engine: True" in said(), "the body", within=60)
    assert re.search(r"cursor closed\n(.*\n)*engine closed", said())


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_page_on_logging(tmp_path: Path, form: str) -> None:
    (tmp_path / "billing.py").write_text(programs("docs/how-to/logging.md")[0])
    shown = programs("docs/how-to/logging.md", "text" if form == "console" else "json")[0].splitlines()[-1]
    with running(tmp_path, "--name", "web-1", LOCUM_LOG_FORMAT=form) as said:
        until(lambda: "one order is late" in said(), "the line", within=60)
        line = next(line for line in said().splitlines() if "one order is late" in line)
    if form == "console":
        assert line.partition(" ")[2] == shown.partition(" ")[2].replace("token=7", "token=1")
    else:
        assert all(json.loads(one) for one in said().splitlines())
        expected = json.loads(shown)
        assert json.loads(line) == expected | {"time": json.loads(line)["time"], "token": 1}
