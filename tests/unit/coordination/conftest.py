"""Fixtures of these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.kit import instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    """One instance, on a store's file of the test's own."""
    async with instance(tmp_path / "store.db", "web-1") as one:
        yield one
