"""F32: the store is wiped, or an older copy of it is put back, while instances work."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.places import SERVERS, SqliteFile
from tests.faults.kit.rows import now
from tests.faults.kit.runs import hurt
from tests.faults.kit.waiting import until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.kit.cluster import Cluster
    from tests.faults.kit.places import Place

TTL = 1.5


def wipe(place: Place) -> None:
    """Everything is gone."""
    place.wipe()


def put_back(place: Place) -> None:
    """The copy takes the place of the store, as one does who restores a backup."""
    place.put_back()


def restore_in_place(place: Place) -> None:
    """The copy is written into the very file, through SQLite."""
    assert isinstance(place, SqliteFile)
    place.restore_in_place()


def reset(place: Place) -> None:
    """An operator gives the store a new identity, without having stopped the instances."""
    command = ["store", "reset", "--yes", "--store", place.url, "--namespace", "faults"]
    subprocess.run([sys.executable, "-m", "locum", *command], check=True)


INJURIES: list[Callable[[Place], None]] = [wipe, put_back, reset]


@pytest.mark.stores(own=True, thorough=True)
@pytest.mark.cluster(app="fenced", ttl=TTL)
@pytest.mark.parametrize("injure", INJURIES, ids=lambda one: one.__name__)
@pytest.mark.timeout(300)
def test_f32_a_store_that_forgot(cluster: Cluster, injure: Callable[[Place], None]) -> None:
    """All notice, nothing is granted for a whole TTL, and the next token is above all that were seen."""
    forget(cluster, injure, terms=3)


@pytest.mark.cluster(app="fenced", ttl=TTL)
@pytest.mark.timeout(300)
def test_f32_a_file_that_was_restored_in_place(cluster: Cluster) -> None:
    forget(cluster, restore_in_place, terms=3)


@pytest.mark.stores(*SERVERS, own=True, thorough=True)
@pytest.mark.cluster(app="fenced", ttl=TTL)
@pytest.mark.timeout(300)
def test_f48_a_server_that_has_lost_its_tail(cluster: Cluster) -> None:
    """The last that it has lost is the take of the very one that works, which was acknowledged."""
    forget(cluster, put_back, terms=1)


def forget(cluster: Cluster, injure: Callable[[Place], None], *, terms: int) -> None:
    cluster.three()
    cluster.place.save()
    for _ in range(terms):
        hurt(cluster, "resigned", within=30)
    cluster.stand()
    before = cluster.rows.last()
    assert before is not None
    injured = now()
    injure(cluster.place)
    after = cluster.takeover(before.token)
    assert after.at - injured >= TTL * 1e9, "somebody worked before the quarantine was over"
    # those who noticed are candidates again, and the new term's fenced writes are accepted
    cluster.window.__exit__()
    cluster.window = Window(cluster.url, "faults").__enter__()
    cluster.stand()
    until(lambda: books(cluster).get(after.token, 0) > 10, "work in the user's own database under the new term")
    assert max(books(cluster)) == cluster.window.grant(cluster.service).token
    cluster.judge()
    told = [instance.name for instance in cluster.instances if "is not the one" in instance.text]
    assert len(told) == 3, f"only {told} have told that the store was exchanged"


@pytest.mark.stores(own=True, thorough=True)
@pytest.mark.cluster(ttl=TTL)
def test_f32_one_that_stood_alone(cluster: Cluster) -> None:
    """The only instance is the active one, and ends with its store: its keeper remembers store and token."""
    only = cluster.start()
    cluster.stand()
    first = cluster.rows.last()
    assert first is not None
    injured = now()
    cluster.place.wipe()
    after = cluster.takeover(first.token)
    assert after.at - injured >= TTL * 1e9, "it worked before the quarantine was over"
    assert only.is_alive
    cluster.judge()


def books(cluster: Cluster) -> dict[int, int]:
    """How much work the user's own database holds, by token."""
    with closing(sqlite3.connect(f"{cluster.rows.path}-books.db")) as database:
        return dict(database.execute("SELECT token, count(*) FROM work GROUP BY token").fetchall())
