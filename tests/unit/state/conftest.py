"""Fixtures of the tests of states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.state.database import opened
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema, shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from locum.state.database import StateDatabase


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state.db"
        return
    demand_server("postgresql", Postgresql.is_installed())
    schema = Schema(shared())
    yield schema.url()
    schema.drop()


@pytest.fixture
async def database(url: str) -> AsyncIterator[StateDatabase]:
    async with opened(url, namespace="billing", timeout=30) as database:
        yield database
