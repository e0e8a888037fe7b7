"""`python -m benchmarks`, small: real processes, the figures and the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.figures import spread, time_text
from benchmarks.harness import Case
from benchmarks.takeover import FROZEN, KILLED
from benchmarks.takeover.picture import draw
from benchmarks.takeover.results import Row

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(300)
def test_a_small_run_writes_figures_and_a_picture(tmp_path: Path) -> None:
    """The naive service needs nothing; a peer whose library is not there is left out in a line."""
    options = ["--n", "1", "--freezes", "0", "--ttl", "2", "--seed", "5", "--out", str(tmp_path)]
    options += ["--only", "naive", "aetcd", "--peers-python", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "takeover", *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "takeover.json").read_text())
    assert {row["case"]["kind"] for row in kept["rows"]} == {"killed", "released"}
    assert all(row["takeover"]["n"] == 1 for row in kept["rows"])
    assert kept["limits"]
    assert kept["machine"]["cores"]
    assert list(kept["without"]) == ["aetcd Lock, refreshed"]
    assert "aetcd is not installed" in kept["without"]["aetcd Lock, refreshed"]
    assert str(tmp_path) not in json.dumps(kept), "nothing names a place on this machine"
    assert "naive" in (tmp_path / "takeover.svg").read_text()


def test_the_picture_shows_every_row_and_both_lines() -> None:
    rows = [row("Locum, worker", KILLED, [2.0, 3.0, 400.0]), row("another & co", FROZEN, [5000.0], strays=[7])]
    drawn = ElementTree.fromstring(draw(rows, ttl=5, least=1.5, notes=["a machine"]))  # noqa: S314 - it is our own
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Locum, worker", "another & co", "a machine", "TTL 5 s", "least after a death 1.5 ms"} <= set(words)
    assert "never" in words
    assert "1 of 1, up to 7 rows in 9 ms" in words


def row(label: str, kind: str, values: list[float], strays: list[int] | None = None) -> Row:
    figure = spread(values, "ms")
    strays = strays or [0] * len(values)
    return Row(Case(label, kind), values, figure, figure, None, 1.0, sum(map(bool, strays)), strays, 9.0)


def test_percentiles_are_of_the_measurements() -> None:
    figure = spread([float(value) for value in range(1, 101)], "ms")
    assert (figure.n, figure.min, figure.p50, figure.p90, figure.p99, figure.max) == (100, 1, 50.5, 90, 99, 100)
    assert spread([3.0, 1.0, 2.0], "ms").p99 == 3.0
    assert [time_text(ms) for ms in (0.0421, 3.14159, 5123.0)] == ["42 µs", "3.14 ms", "5.12 s"]
