"""A database beside the store, for one test: a file, or a schema of its own on the shared server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema, shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["KINDS", "database_url"]

KINDS: Final = ("sqlite", "postgresql")


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database of a kind, which is gone after the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/beside.db"
        return
    demand_server("postgresql", Postgresql.is_installed())
    schema = Schema(shared())
    yield schema.url()
    schema.drop()
