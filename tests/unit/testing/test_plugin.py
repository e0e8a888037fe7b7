"""The pytest plugin, as pytest finds it where Locum is installed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from locum.testing import Ledger

TESTS = """
import pytest

from locum.testing import Cluster, cluster


@pytest.mark.asyncio
async def test_good(locum_cluster):
    async with locum_cluster("billing:host", instances=1, ttl=20) as c:
        assert isinstance(c, Cluster)
        await c.active("settlement")
    async with locum_cluster("billing:host", instances=1, ttl=20) as another:
        assert another.folder != c.folder


@pytest.mark.asyncio
async def test_bad(locum_cluster):
    async with locum_cluster("billing:host", instances=2, ttl=20) as c:
        await c.standing()
        raise RuntimeError("as planned")


def test_without():
    pass
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_fixture_and_its_report(tmp_path: Path, ledger: Ledger, mode: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    settings = ["-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function"]
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *settings]
    done = subprocess.run([*command, "test_it.py"], cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    assert done.stdout.count("- Locum instances in ") == 1, "beside the failure alone"
    assert "the store sqlite:///" in done.stdout
    for name in ("i1", "i2"):
        assert f"{name} of billing runs settlement, poll" in done.stdout
    assert ledger.rows()


def test_it_costs_nothing_where_it_is_not_used() -> None:
    script = (
        "import sys, locum.testing.plugin; print(*sorted(name for name in sys.modules if name.startswith('locum')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["locum", "locum.testing", "locum.testing.plugin"]
