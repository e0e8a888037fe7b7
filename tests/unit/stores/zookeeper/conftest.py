"""A root of its own for each test, on one server for all."""

from __future__ import annotations

import pytest

from locum.names import random_id
from locum.testing.conformance import demand_server
from tests.servers.zookeeper import ZooKeeper, shared


@pytest.fixture
def server() -> ZooKeeper:
    """The server."""
    demand_server("zookeeper", ZooKeeper.is_installed())
    return shared()


@pytest.fixture
def root(server: ZooKeeper) -> str:
    """A path at which nothing is yet."""
    del server
    return f"/test-{random_id()}"
