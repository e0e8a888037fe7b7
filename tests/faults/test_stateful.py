"""S01, S04, S08: stateful services whose primaries are killed and frozen, as their callers see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.faults.kit.runs import FULL, count

if TYPE_CHECKING:
    from tests.faults.kit.places import Place

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "wordcount" / "run.py"
STORES: Final = pytest.mark.stores("sqlite", "postgresql")


def counted(place: Place, *options: str, **environment: str) -> dict[str, Any]:
    """What is said of a run of the word count example on a store."""
    line = [sys.executable, str(PROGRAM), "--json", "--store", place.url, *options]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, found
    return found


@STORES
@pytest.mark.timeout(1200)
def test_s01_no_acknowledged_write_is_lost_or_applied_twice_though_primaries_are_killed(place: Place) -> None:
    kills = count(50, 8, on=place)
    found = counted(place, "--kills", str(kills), "--seconds", str(0.5 * kills))
    assert (found["lost"], found["applied_twice"], found["kills"]) == (0, 0, kills)
    assert found["linearizable"]
    assert found["acknowledged"] > 10 * kills
    if FULL:
        assert found["resume_ms"]["p50"] <= 100


@STORES
@pytest.mark.timeout(1200)
def test_s08_histories_are_linearizable_though_primaries_are_killed_and_frozen(place: Place) -> None:
    injuries = count(20, 2, on=place)
    options = ("--kills", str(injuries), "--freezes", str(injuries), "--seconds", str(120 if FULL else 2))
    found = counted(place, *options, LOCUM_TTL="2")
    assert found["linearizable"]
    assert (found["lost"], found["applied_twice"]) == (0, 0)
