"""Fixtures of the tests of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.jobs.database import opened
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema, shared
from tests.unit.jobs.book import Book

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.db"
        return
    demand_server("postgresql", Postgresql.is_installed())
    schema = Schema(shared())
    yield schema.url()
    schema.drop()


@pytest.fixture
async def book(url: str) -> AsyncIterator[Book]:
    async with opened(url, namespace="billing", timeout=30) as database:
        yield Book(database)
