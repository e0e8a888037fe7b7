"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from tests.faults.kit.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MakeCluster(Protocol):
    def __call__(
        self, *, app: str = ..., ttl: float = ..., service: str = ..., environment: dict[str, str] | None = ...
    ) -> Cluster: ...


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster; `@pytest.mark.parametrize("cluster", [{...}], indirect=True)` gives it other arguments."""
    with Cluster(tmp_path, **getattr(request, "param", {})) as made:
        yield made
