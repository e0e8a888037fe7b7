"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "cluster(**arguments): what the fixture `cluster` makes its cluster with")


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without instances; all that a test starts in it ends with the test."""
    mark = request.node.get_closest_marker("cluster")
    with Cluster(tmp_path, **(mark.kwargs if mark else {})) as made:
        yield made
