"""F26, second half: a control group is frozen across the deadline, and thawed after others have taken over."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit import judges
from tests.faults.kit.cluster import NEEDS_UNSHARE, time_namespace
from tests.faults.kit.freezers import NEEDS_FREEZER_V1, NEEDS_FREEZER_V2, Freezer
from tests.faults.kit.processes import descendants, send, state
from tests.faults.kit.rows import now
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster, Instance
    from tests.faults.kit.rows import Row

SHORT_TTL = pytest.mark.cluster(app="mixed", ttl=1.5)
LATE = 0.25  # seconds in which a dead keeper's worker must have followed it, once it is thawed; measured are 2 ms


def everything_of(cluster: Cluster, instance: Instance) -> list[int]:
    """All processes of an instance."""
    pids = cluster.pids(instance)
    return [pids.guardian, *descendants(pids.guardian)]


def freeze_for_three_ttls(cluster: Cluster, freezer: Freezer, active: Instance) -> tuple[Row, int]:
    """Freeze the active one as a whole for 3 TTL; its last row before that, and the instant of the thaw."""
    cluster.phase()
    freezer.freeze(everything_of(cluster, active))
    before = cluster.last_row()
    pass_by(3 * cluster.ttl)
    thawed = now()
    freezer.thaw()
    cluster.takeover(before.token)
    until(lambda: not active.is_alive, "the end of what was frozen past its deadline")
    pass_by(0.3)  # an old body that lives would write now
    cluster.rows.read()
    return before, thawed


def judge_end(cluster: Cluster, active: Instance, token: int) -> None:
    """The one that was frozen gave nothing up: it was seen dead, or silent, by another."""
    until(lambda: token in cluster.window.journal(cluster.service), "an entry in the journal")
    ended = cluster.window.journal(cluster.service)[token]
    assert ended.instance == active.name
    assert ended.told_by != active.name
    assert ended.why == "died: its processes are gone" or ended.why.startswith("fell silent for"), ended


def judge_fenced(cluster: Cluster) -> None:
    """In the fenced database no row of an older token follows one of a newer."""
    with closing(sqlite3.connect(f"{cluster.rows.path}.db")) as database:
        tokens = [token for (token,) in database.execute("SELECT token FROM rows ORDER BY id")]
    assert len(set(tokens)) >= 2, "both must have written there"
    falls = [pair for pair in pairwise(tokens) if pair[1] < pair[0]]
    assert not falls, f"a stale write was accepted: {falls}"


@NEEDS_FREEZER_V2
@SHORT_TTL
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ahead", [None, pytest.param(86400, marks=NEEDS_UNSHARE)], ids=["one-clock", "a-day-ahead"])
def test_f26_frozen_group(cluster: Cluster, ahead: int | None) -> None:
    """The kernel ends the frozen keeper at its deadline, and the worker with it, before anyone else begins."""
    for _ in range(count(25, small=1)):
        active = cluster.start(below=() if ahead is None else time_namespace(ahead))
        while cluster.stand() is not active:
            token = cluster.window.grant(cluster.service).token
            cluster.window.ask_to_resign(cluster.service, token, "it is another's turn")
            cluster.takeover(token)
        while len(cluster.alive()) < 3:
            cluster.start()
        assert cluster.stand() is active
        with Freezer(2) as freezer:
            before, _ = freeze_for_three_ttls(cluster, freezer, active)
        cluster.judge()
        judge_end(cluster, active, before.token)
        judge_fenced(cluster)


@NEEDS_FREEZER_V1
@SHORT_TTL
@pytest.mark.timeout(1800)
def test_f26_frozen_group_of_version_1(cluster: Cluster) -> None:
    """There a kill is pending until the thaw, and a worker outlives its keeper by a moment: then the token decides."""
    for _ in range(count(25, small=1)):
        active = cluster.three()
        with Freezer(1) as freezer:
            before, thawed = freeze_for_three_ttls(cluster, freezer, active)
        judge_end(cluster, active, before.token)
        judge_fenced(cluster)
        late = judges.rows_after(cluster.rows.rows, before.token, thawed + int(LATE * 1e9))
        assert not late, "\n".join(late)
        assert not judges.twins(cluster.rows.rows)


@NEEDS_FREEZER_V1
@SHORT_TTL
def test_f26_a_kill_that_is_pending_is_no_death(cluster: Cluster) -> None:
    """A frozen worker is told to die, and cannot yet: its session stays open, for it may be thawed as it is (R10)."""
    active = cluster.three()
    pids = cluster.pids(active)
    sessions = cluster.window.sessions()
    with Freezer(1) as freezer:
        freezer.freeze([pids.worker])
        before = cluster.last_row()
        for _ in range(3):  # the third one forces the end
            send(pids.keeper, signal.SIGTERM)
            pass_by(0.1)  # signals that come together are one
        pass_by(3 * cluster.ttl)
        assert state(pids.worker) == "D", "this test wants a process that a kill does not end"
        holder = cluster.window.grant(cluster.service).holder
        assert holder is not None
        assert holder.session == sessions[active.name].id, "the grant was released while its holder was frozen"
        assert cluster.window.session(holder.session).is_open, "the session was closed while its worker was frozen"
        assert cluster.last_row() == before, "somebody worked while the holder was frozen"
    assert active.leave() == 128 + signal.SIGTERM
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    cluster.judge()
