"""The SQLite store keeps the contract."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.unit.kit import opened
from tests.unit.stores.contract import StoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.store import Store
    from tests.unit.stores.contract import Connect


class TestSqlite(StoreContract):
    @pytest.fixture
    async def connect(self, tmp_path: Path) -> AsyncIterator[Connect]:
        async with AsyncExitStack() as stack:

            async def connect(*, namespace: str = "billing") -> Store:
                return await stack.enter_async_context(opened(tmp_path / "store.db", namespace=namespace))

            yield connect
