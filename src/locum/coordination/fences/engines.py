"""What the fences of all databases have in common that are reached through SQLAlchemy."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.coordination.fences.fence import Fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["EngineFence", "engine_of"]


def engine_of(target: Any) -> Any:
    """The engine of an engine, or of one of its connections."""
    return target if type(target).__name__ in ("Engine", "AsyncEngine") else target.engine


class EngineFence(Fence):
    """Through an engine or a connection of SQLAlchemy, plain or asyncio.

    Args:
        target: The engine or the connection.
    """

    def __init__(self, target: Any) -> None:
        self._engine = engine_of(target)
        self.is_async = hasattr(self._engine, "sync_engine")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A transaction on a connection of the engine's."""
        if self.is_async:
            async with self._engine.begin() as connection:
                yield connection
        else:
            with self._engine.begin() as connection:
                yield connection

    async def _run(self, connection: Any, statement: str, values: dict[str, object]) -> tuple[int, Any]:
        import sqlalchemy

        result = connection.execute(sqlalchemy.text(statement), values)
        if asyncio.iscoroutine(result):
            result = await result
        if not result.returns_rows:
            return result.rowcount, None
        row = result.fetchone()
        return 0 if row is None else 1, row

    def _in_transaction(self, connection: Any) -> bool:
        return bool(connection.in_transaction())
