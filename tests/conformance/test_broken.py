"""A driver with a planted fault fails, and the contract that fails is the one that names its fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from locum.testing.conformance import CONTRACTS

ROOT = Path(__file__).parents[2]


def failures(driver: str, folder: Path) -> set[str]:
    """The tests of a driver that fail, by their contracts."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--timeout=10"]
    done = subprocess.run(
        [*command, f"tests/conformance/broken.py::Test{driver}", "-k", "not poll_interval and not another_process"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - our own
    failed = [str(case.get("name")).partition("[")[0] for case in cases if case.find("failure") is not None]
    return {f"{_contract_of(name)}.{name}" for name in failed}


def _contract_of(test: str) -> str:
    return next(contract.__name__ for contract in CONTRACTS if test in vars(contract))


@pytest.mark.parametrize(
    ("driver", "named"),
    [
        ("ReadsThenWrites", "StoreContract.test_of_many_writers_on_one_revision_one_wins"),
        ("DropsFirst", "StoreContract.test_a_write_that_is_refused_drops_nothing"),
        ("CountsWhatItShows", "StoreContract.test_a_list_counts_all_and_names_the_incarnation"),
        ("ForgetsTheDead", "SessionContract.test_a_closed_id_never_comes_back"),
        ("ClearsBeforeItWaits", "WakeUpContract.test_a_change_before_the_wait_begins_is_not_lost"),
    ],
)
def test_a_planted_fault_fails_the_contract_that_names_it(driver: str, named: str, tmp_path: Path) -> None:
    found = failures(driver, tmp_path)
    assert named in found
    assert not [name for name in found if name.startswith("JournalContract.")], "none of them breaks what has no race"
