"""One server for the tests of a module, empty for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """The server."""
    demand_server("redis", Redis.is_installed())
    with Redis(tmp_path_factory.mktemp("redis") / "server") as server:
        yield server


@pytest.fixture
def server(running: Redis) -> Iterator[Redis]:
    """The server, empty."""
    running.wipe()
    yield running
    for setting, value in {"maxmemory": "0", "maxmemory-policy": "noeviction", "appendfsync": "always"}.items():
        running.demand("CONFIG", "SET", setting, value)
    running.demand("REPLICAOF", "NO", "ONE")


@pytest.fixture
def url(server: Redis) -> str:
    """Its URL."""
    return f"redis://127.0.0.1:{server.port}"
