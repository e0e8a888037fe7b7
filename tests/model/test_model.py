"""The models, the rows of `make model` and the page about them say the same; and the models hold, looked at briefly."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.model.run import HERE, ROWS, Row, judge, missing, read

PAGE = Path(__file__).parents[2] / "docs" / "proof" / "model.md"
MODELS = sorted({row.model for row in ROWS})

spins = pytest.mark.skipif(
    os.environ.get("CI") != "true" and bool(missing()), reason="server not installed: spin, or the gcc that it needs"
)


@pytest.mark.parametrize("model", MODELS)
def test_each_flag_of_a_model_is_a_row_and_the_other_way_round(model: str) -> None:
    flags = set(re.findall(r"\bNO_R\w+", (HERE / f"{model}.pml").read_text()))
    assert flags == {row.flag for row in ROWS if row.model == model and row.flag}


def test_the_page_has_each_row() -> None:
    told = re.findall(r"^\| (\w+) \| `(NO_\w+)` \|[^|]*\| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted((row.model, row.flag, row.breaks) for row in ROWS if row.flag)


def test_a_search_that_was_cut_off_is_no_proof() -> None:
    said = "error: max search depth too small\nState-vector 84 byte, depth reached 9, errors: 0\n 12 states, stored\n"
    assert not read(Row("lease"), said, 0.0).good
    assert read(Row("lease"), said.partition("\n")[2], 0.0).good


@spins
def test_the_grant_holds_for_two_tokens() -> None:
    verdict = judge(Row("grant"), "TAKES=2")
    assert verdict.good, verdict.trouble
    assert verdict.states > 10_000


@spins
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.flag in ("NO_R9", "NO_R21_CHECK")], ids=lambda row: row.flag
)
def test_a_rule_taken_out_is_missed(row: Row) -> None:
    verdict = judge(row)
    assert verdict.good, verdict.trouble


@spins
def test_the_commands_of_the_page_show_a_counter_example(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        ["sh", "-e", "-c", block],
        cwd=HERE.parents[1],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "errors: 1" in done.stdout
    assert "trail ends after" in done.stdout
