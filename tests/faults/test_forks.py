"""F28: a process with a term forks, and its children use what they have inherited (R30)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from typing import Any

    from tests.faults.kit.cluster import Cluster

KINDS = ("quick", "exit", "multiprocessing", "anew")


def told(cluster: Cluster, **wanted: object) -> list[dict[str, Any]]:
    """What the processes have told that has these values."""
    path = cluster.rows.path.with_name(f"{cluster.rows.path.name}-children")
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [one for one in found if wanted.items() <= one.items()]


def tells(cluster: Cluster, **wanted: object) -> dict[str, Any]:
    """Wait until one of them tells something that has these values."""
    return until(lambda: told(cluster, **wanted), f"{wanted}")[0]


def polled(pid: int) -> list[str]:
    """The descriptors in a process's poll sets, which its event loops hear of."""
    found: list[str] = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if "eventpoll" in str(fd.readlink()):
            lines = Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().splitlines()
            found += [f"{fd.name}: {line.split()[1]}" for line in lines if line.startswith("tfd")]
    return sorted(found)


@pytest.mark.cluster(app="forking", ttl=3.0)
@pytest.mark.parametrize("by_itself", [True, False], ids=["embedded", "under-a-keeper"])
def test_f28_forked_children(cluster: Cluster, by_itself: bool) -> None:
    """Every call of theirs is refused; whatever way they end, the parent's term lives on, and is heard and followed."""
    parent = cluster.start(by_itself=by_itself)
    before = until(cluster.rows.last, "its first row")
    heard = polled(before.pid)
    wal = cluster.database.with_name(f"{cluster.database.name}-wal")
    number = wal.stat().st_ino
    session = cluster.window.sessions()[parent.name].id
    for kind in KINDS:
        cluster.order(f"fork {kind}")
        born = tells(cluster, kind="parent", child=kind)
        gone = tells(cluster, kind="ended", pid=born["pid"])
        (child,) = told(cluster, kind=kind)
        assert (child["pid"], child["let_through"], gone["code"]) == (born["pid"], [], 0), (child, gone)
    assert polled(before.pid) == heard, "a child has taken something out of its parent's event loop"
    assert wal.stat().st_ino == number, "a child has closed the database as its last user"
    assert told(cluster, kind="own", current=True), "a child that connects anew works on its own"
    beat = cluster.window.sessions()[parent.name].beat or 0
    pass_by(cluster.ttl)
    last = cluster.rows.last()
    assert last is not None
    assert (last.token, last.pid) == (before.token, before.pid)
    assert cluster.window.sessions()[parent.name].id == session
    assert (cluster.window.sessions()[parent.name].beat or 0) > beat, "its beats have stopped"
    cluster.window.ask_to_resign(cluster.service, before.token, "was asked to resign")
    cluster.takeover(before.token, within=4.0)  # less than the 5 s after which the store is looked at without a wake-up
    assert {row.pid for row in cluster.rows.rows} == {before.pid}
    with closing(sqlite3.connect(cluster.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    cluster.judge()
