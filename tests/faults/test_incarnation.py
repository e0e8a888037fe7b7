"""F32: the store's file is wiped, or an older copy of it is put back, while instances work."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.rows import now
from tests.faults.kit.runs import hurt
from tests.faults.kit.waiting import until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.kit.cluster import Cluster

TTL = 1.5


def copy(database: Path) -> Path:
    """A copy of the store as it is now, as a backup makes it."""
    path = database.with_name("copy.db")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    return path


def wipe(database: Path, copied: Path) -> None:
    """Everything is gone."""
    del copied
    for path in sorted(database.parent.glob(f"{database.name}*")):
        path.unlink()


def put_back(database: Path, copied: Path) -> None:
    """The copy takes the place of the file, as one does who restores a backup."""
    for side in ("-wal", "-shm"):
        database.with_name(database.name + side).unlink(missing_ok=True)
    copied.replace(database)


def restore_in_place(database: Path, copied: Path) -> None:
    """The copy is written into the very file, through SQLite."""
    with closing(sqlite3.connect(copied)) as source, closing(sqlite3.connect(database, timeout=20)) as target:
        source.backup(target)


def reset(database: Path, copied: Path) -> None:
    """An operator gives the store a new identity, without having stopped the instances."""
    del copied
    command = ["store", "reset", "--yes", "--store", f"sqlite:///{database}", "--namespace", "faults"]
    subprocess.run([sys.executable, "-m", "locum", *command], check=True)


INJURIES: list[Callable[[Path, Path], None]] = [wipe, put_back, restore_in_place, reset]


@pytest.mark.cluster(app="fenced", ttl=TTL)
@pytest.mark.parametrize("injure", INJURIES, ids=lambda one: one.__name__)
@pytest.mark.timeout(300)
def test_f32_a_store_that_forgot(cluster: Cluster, injure: Callable[[Path, Path], None]) -> None:
    """All notice, nothing is granted for a whole TTL, and the next token is above all that were seen."""
    cluster.three()
    copied = copy(cluster.database)
    for _ in range(3):
        hurt(cluster, "resigned", within=30)
    cluster.stand()
    before = cluster.rows.last()
    assert before is not None
    injured = now()
    injure(cluster.database, copied)
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


@pytest.mark.cluster(ttl=TTL)
def test_f32_one_that_stood_alone(cluster: Cluster) -> None:
    """The only instance is the active one, and ends with its store: its keeper remembers store and token."""
    only = cluster.start()
    cluster.stand()
    first = cluster.rows.last()
    assert first is not None
    injured = now()
    wipe(cluster.database, cluster.database)
    after = cluster.takeover(first.token)
    assert after.at - injured >= TTL * 1e9, "it worked before the quarantine was over"
    assert only.is_alive
    cluster.judge()


def books(cluster: Cluster) -> dict[int, int]:
    """How much work the user's own database holds, by token."""
    with closing(sqlite3.connect(f"{cluster.rows.path}-books.db")) as database:
        return dict(database.execute("SELECT token, count(*) FROM work GROUP BY token").fetchall())
