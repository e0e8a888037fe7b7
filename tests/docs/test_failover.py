"""The service and its test run as they stand on the page on failovers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/how-to/test-your-failover.md"


@pytest.mark.timeout(180)
def test_the_test_of_the_page(tmp_path: Path) -> None:
    service, test = programs(PAGE)
    (tmp_path / "billing.py").write_text(service)
    (tmp_path / "test_failover.py").write_text(test)
    settings = ["-W", "error", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    command = [sys.executable, "-m", "pytest", *settings, "test_failover.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
