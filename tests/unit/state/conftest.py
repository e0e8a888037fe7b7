"""Fixtures of the tests of states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.state.database import opened
from tests.servers.databases import KINDS, database_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from locum.state.database import StateDatabase


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[StateDatabase]:
    async with opened(url, namespace="billing", timeout=30) as database:
        yield database
