"""A small host of a user's, and clusters of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.testing import Ledger

if TYPE_CHECKING:
    from pathlib import Path

BILLING = """
import os

from locum import Host, Stopping, Term
from locum.testing import Ledger

host = Host("billing")
ledger = Ledger(os.environ["LEDGER"])


@host.active_passive
async def settlement(term: Term) -> None:
    async for _ in term.every(0.002):
        ledger.write(term.token)


@host.background
async def poll(stopping: Stopping) -> None:
    async for _ in stopping.every(1):
        pass
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """What the bodies of billing:host have written; the test's current folder is the one of that module."""
    (tmp_path / "billing.py").write_text(BILLING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    return Ledger(tmp_path / "ledger")
