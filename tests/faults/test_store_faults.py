"""F33: the store's file, its disk, a stranger or a newer release makes writing impossible, while instances work.

Everyone says what is wrong in one sentence, the active one steps down by its deadline, nobody takes over meanwhile, and
when the fault is gone all campaign again, by themselves.
"""

from __future__ import annotations

import signal
import sqlite3
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.disks import NEEDS_ROOT, full, overwritten, read_only, small_disk
from tests.faults.kit import judges
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.faults.kit.cluster import Instance

TTL: Final = 2.0
STRANGER: Final = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
while True:
    time.sleep(60)
"""


def checkpoint(database: Path) -> None:
    """Bring everything into the file itself, so that nothing of it is read from its -wal, and that has no room left."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def made_read_only(cluster: Cluster) -> Iterator[None]:
    """Database and log may not be written any more, nor may anything be made beside them."""
    wal = cluster.database.with_name(cluster.database.name + "-wal")
    with read_only(cluster.database, wal, cluster.database.parent):
        yield


@contextmanager
def filled(cluster: Cluster) -> Iterator[None]:
    """Nothing is free on the store's disk."""
    checkpoint(cluster.database)
    with full(cluster.database.parent):
        yield


@contextmanager
def held_by_a_stranger(cluster: Cluster) -> Iterator[None]:
    """A program that knows nothing of Locum holds a transaction open."""
    stranger = cluster.beside([sys.executable, "-c", STRANGER, str(cluster.database)])
    until(lambda: "held" in cluster.output_beside(), "the store to be held")
    try:
        yield
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait(10)


@contextmanager
def damaged(cluster: Cluster) -> Iterator[None]:
    """All but the first page is noise."""
    with noise(cluster.database, begin=4096):
        yield


@contextmanager
def beheaded(cluster: Cluster) -> Iterator[None]:
    """The file does not begin as a database does."""
    with noise(cluster.database, end=100):
        yield


@contextmanager
def noise(database: Path, *, begin: int = 0, end: int | None = None) -> Iterator[None]:
    """Some bytes are noise, and nobody has good pages in memory or finds them in the log: else one could work on."""
    wal = database.with_name(database.name + "-wal")
    with ExitStack() as stack:
        with closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as stranger:
            while True:
                stranger.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                stranger.execute("BEGIN IMMEDIATE")
                if not wal.stat().st_size:
                    break
                stranger.execute("ROLLBACK")  # somebody was quicker, and would find his own pages in the log
            # a real change: where no page is new, SQLite puts its good first page into the log, with which whoever is
            # connected works on
            stranger.execute("UPDATE locum_store SET max_ttl = max_ttl + 1")
            stack.enter_context(overwritten(database, begin=begin, end=end))
            stranger.execute("COMMIT")  # what the others have in memory is old from here on
        yield


@contextmanager
def upgraded(cluster: Cluster) -> Iterator[None]:
    """A newer release has changed the schema, and is taken back."""
    _set_schema(cluster.database, least_reader=9)
    try:
        yield
    finally:
        _set_schema(cluster.database, least_reader=1)


def _set_schema(database: Path, *, least_reader: int) -> None:
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        connection.execute("UPDATE locum_store SET least_reader = ?", (least_reader,))


@dataclass(frozen=True)
class Fault:
    """One fault, and what the sentence about it says: what is wrong, and what to do."""

    happens: Callable[[Cluster], AbstractContextManager[None]]
    what: str
    what_next: str
    needs_disk: bool = False


FAULTS: Final = [
    Fault(made_read_only, "or its folder is read-only", "mount it writable, or give this user the right to write"),
    Fault(filled, "is full", "free some space there, and it goes on by itself", needs_disk=True),
    Fault(held_by_a_stranger, "another process keeps the file locked", "shows who has it open"),
    Fault(damaged, "is damaged", "put a good copy in its place"),
    Fault(beheaded, "is no SQLite database", "put a good copy in its place"),
    Fault(upgraded, "a newer release has changed its schema", "upgrade locum here"),
]


@NEEDS_ROOT
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.happens.__name__)
def test_f33_a_store_that_cannot_be_written(tmp_path: Path, fault: Fault) -> None:
    with ExitStack() as stack:
        folder = tmp_path / "store"
        if fault.needs_disk:
            stack.enter_context(small_disk(folder, kilobytes=2048))
        else:
            folder.mkdir()
        cluster = stack.enter_context(Cluster(tmp_path, place=SqliteFile(folder / "store.db"), ttl=TTL))
        suffer(cluster, fault)


def suffer(cluster: Cluster, fault: Fault) -> None:
    active = cluster.three()
    before = cluster.rows.last()
    assert before is not None
    with fault.happens(cluster):
        begun = now()
        pass_by(1.5 * TTL)
        # a beat may have been on its way: counted from it, the kernel ends at 85 % whoever still works
        late = judges.rows_after(cluster.rows.read(), before.token, begun + round((0.85 + 1 / 6) * TTL * 1e9))
        assert not late, "\n".join(late)
        assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
        for instance in cluster.alive():
            until(partial(sentences, instance, fault), f"{instance.name} to say {fault.what!r}")
    cluster.takeover(before.token)
    assert len(cluster.alive()) == 3, f"{active.name} or another did not wait for the store"
    cluster.stand()
    cluster.judge()


def sentences(instance: Instance, fault: Fault) -> list[str]:
    """What an instance has said of a fault."""
    said = instance.text.splitlines()
    return [line for line in said if fault.what in line and fault.what_next in line and "store.db" in line]
