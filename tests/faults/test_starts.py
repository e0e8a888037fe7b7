"""F29: many candidates begin at the same moment, where nothing was before: one of them works, and no other ever did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import Cluster
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import pass_by, until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROCESSES = 5
EACH = 10


def when_there(barrier: Path) -> Sequence[str]:
    """Before a command: it begins once that file is there."""
    return ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.02; done; exec "$@"', str(barrier)]


def window_of(cluster: Cluster) -> Window:
    """A look into the store that the candidates have made."""
    until(cluster.database.exists, "somebody to make the store")
    return Window(cluster.url, "faults")


def one_works(cluster: Cluster, candidates: int) -> None:
    """Everyone stands in line; one process works for three beats under one token, which is the only one ever taken."""
    with window_of(cluster) as window:
        first = until(lambda: cluster.rows.first_of_newer(0), "somebody to work")
        until(
            lambda: len(window.line(cluster.service)) == candidates, "everyone to stand in line", within=100, pause=0.1
        )
        pass_by(3 * cluster.ttl / 6)
        cluster.judge()
        assert {(row.pid, row.token) for row in cluster.rows.rows if row.is_of_body} == {(first.pid, first.token)}
        grant, last = window.grant(cluster.service), cluster.rows.last()
        assert last is not None
        assert (grant.token, last.token) == (1, 1)
        assert window.journal(cluster.service) == {}


def on_a_fresh_store(cluster: Cluster) -> None:
    """From now on the cluster's instances share a store that nobody has made yet."""
    cluster.place = SqliteFile(cluster.folder / "fresh.db")
    cluster.url = cluster.place.url


@pytest.mark.timeout(1800)
def test_f29_fifty_candidates_in_five_processes(tmp_path: Path) -> None:
    for number in range(count(20, small=3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        start, stand = folder / "start", folder / "stand"
        environment = {"FAULTS_CANDIDATES": str(EACH), "FAULTS_BARRIER": str(stand)}
        with Cluster(folder, app="candidates", ttl=3.0, environment=environment) as cluster:
            on_a_fresh_store(cluster)
            for _ in range(PROCESSES):
                cluster.start(by_itself=True, below=when_there(start))
            start.touch()
            with window_of(cluster) as window:
                until(lambda: len(window.sessions()) == PROCESSES, "all processes to have a session")
            stand.touch()
            one_works(cluster, PROCESSES * EACH)


@pytest.mark.timeout(1800)
@pytest.mark.cluster(ttl=count(20, small=6))
def test_f29_fifty_instances(cluster: Cluster) -> None:
    """Whole instances, each with its keeper and its guardian, from the first moment on."""
    instances = count(50, small=10)
    on_a_fresh_store(cluster)
    start = cluster.folder / "start"
    for number in range(instances):
        cluster.start(by_itself=number % 2 == 1, below=when_there(start))
    start.touch()
    one_works(cluster, instances)
