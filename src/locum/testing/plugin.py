"""The pytest plugin: the fixture `locum_cluster`, and what the instances have said beside a failure.

It is loaded by pytest itself wherever Locum is installed, so it imports nothing of Locum's before a test asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from locum.testing.clusters import Cluster

__all__ = ["ClusterMaker", "locum_cluster", "pytest_runtest_makereport"]

_MADE: Final = pytest.StashKey[list["Cluster"]]()


class ClusterMaker:
    """What the fixture `locum_cluster` is: it makes clusters whose files are in the test's `tmp_path`.

    It is no coroutine and no asynchronous fixture, so it serves under every plugin that runs tests in an asyncio event
    loop, in every mode.

    Args:
        folder: For the files of all that it makes.
        made: Where these are noted, for the report.
    """

    def __init__(self, folder: Path, made: list[Cluster]) -> None:
        self._folder, self._made = folder, made

    def __call__(
        self,
        app: str,
        *,
        instances: int = 3,
        ttl: float = 1.0,
        store: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Cluster:
        """A cluster, for the length of an `async with` block; the arguments are those of `locum.testing.cluster`."""
        from locum.testing.clusters import cluster

        folder = self._folder / f"locum-{len(self._made) + 1}"
        made = cluster(app, instances=instances, ttl=ttl, store=store, folder=folder, environment=environment)
        self._made.append(made)
        return made


@pytest.fixture
def locum_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> ClusterMaker:
    """What makes clusters of real instances, each for the length of an `async with` block."""
    made: list[Cluster] = []
    request.node.stash[_MADE] = made
    return ClusterMaker(tmp_path, made)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show beside a failure what the instances have said."""
    report = yield
    if report.failed:
        for made in item.stash.get(_MADE, []):
            report.sections.append((f"Locum instances in {made.folder}", made.report()))
    return report
