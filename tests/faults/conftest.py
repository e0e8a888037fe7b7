"""Fixtures of the fault tests."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import demand_server
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.places import SERVERS, STORES, SqliteFile
from tests.faults.kit.runs import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.kit.places import Place, ServerPlace
    from tests.servers.server import Server


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    config.addinivalue_line("markers", "cluster(**arguments): what the fixture `cluster` makes its cluster with")
    config.addinivalue_line(
        "markers",
        "stores(*names, own=False, thorough=False): the stores on which a row takes place, all if none is named; on a"
        " SQLite file without it. `own`: on a server that no other test uses. `thorough`: on servers only where the"
        " full counts are wanted; of servers that are named, on these",
    )
    config.addinivalue_line("markers", "thorough: a test that is made only where the full counts are wanted")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A row takes place on each store that it is marked for."""
    mark = metafunc.definition.get_closest_marker("stores")
    if mark is not None:
        metafunc.parametrize("place", mark.args or STORES, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is thorough takes place on servers only with the full counts, or where a patch names it."""
    wanted = FULL or os.environ.get("LOCUM_THOROUGH") == "1"
    left_out = [] if wanted else [item for item in items if _is_thorough(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_thorough(item: pytest.Item) -> bool:
    if item.get_closest_marker("thorough") is not None:
        return True
    mark = item.get_closest_marker("stores")
    if mark is None or not isinstance(item, pytest.Function):
        return False
    thorough = mark.kwargs.get("thorough", False)
    return item.callspec.params["place"] in (SERVERS if thorough is True else thorough or ())


class Servers:
    """Those that the tests of one process share, each started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Server] = {}
        self._stack = ExitStack()

    def of(self, kind: type[ServerPlace]) -> Server:
        """The server of a sort of place."""
        if kind.name not in self._running:
            self._running[kind.name] = self._stack.enter_context(kind.make(self._folder / kind.name))
        return self._running[kind.name]

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers of this process of tests."""
    with Servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[Place]:
    """The store that the test's row takes place on; nothing is in it yet."""
    name = getattr(request, "param", SqliteFile.name)
    if name == SqliteFile.name:
        yield SqliteFile(tmp_path / "store.db")
        return
    kind = SERVERS[name]
    demand_server(name, kind.is_installed())
    mark = request.node.get_closest_marker("stores")
    if not mark.kwargs.get("own"):
        yield kind(servers.of(kind))
        return
    with kind.make(tmp_path / "server") as server:
        yield kind(server)


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, place: Place) -> Iterator[Cluster]:
    """A cluster without instances; all that a test starts in it ends with the test."""
    mark = request.node.get_closest_marker("cluster")
    with Cluster(tmp_path, place=place, **(mark.kwargs if mark else {})) as made:
        yield made
