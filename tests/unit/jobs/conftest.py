"""Fixtures of the tests of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.jobs.database import opened
from tests.servers.databases import KINDS, database_url
from tests.unit.jobs.book import Book

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def book(url: str) -> AsyncIterator[Book]:
    async with opened(url, namespace="billing", timeout=30) as database:
        yield Book(database)
