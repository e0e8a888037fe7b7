"""F05 to F08: a term ends as planned, its body fails, returns, or blocks the event loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.processes import state
from tests.faults.kit.runs import count, hurt
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from typing import Any

    from tests.faults.kit.cluster import Cluster


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(environment={"FAULTS_FAREWELL": "0.03"})
@pytest.mark.parametrize(("kind", "full"), [("terminated", 100), ("resigned", 100)], ids=["terminated", "resigned"])
@pytest.mark.timeout(1800)
def test_f05_planned_end(cluster: Cluster, kind: str, full: int) -> None:
    """A body that takes its time to end has its last word before the new one's first, each time."""
    for _ in range(count(full, on=cluster.place)):
        found = hurt(cluster, kind, within=0.75 * cluster.ttl)
        last = cluster.rows.last_of(found.old)
        assert last is not None
        assert last.who == "end", f"the body of token {found.old} was not ended in peace"
        assert found.gap_ms > 0
    pass_by(0.2)  # whoever was still about to end would have its last word now
    cluster.judge()


def shown(cluster: Cluster, instance: str) -> dict[str, Any]:
    """What an instance shows of the service."""
    services = cluster.window.services().get(instance, {})
    found: dict[str, Any] = services.get(cluster.service, {})
    return found


@pytest.mark.stores(thorough=True)
def test_f06_body_raises(cluster: Cluster) -> None:
    active = cluster.three()
    worker = cluster.pids(active).worker
    before = cluster.rows.last()
    assert before is not None
    cluster.order("raise")
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    until(lambda: before.token in cluster.window.journal(cluster.service), "an entry in the journal")
    ended = cluster.window.journal(cluster.service)[before.token]
    assert ended.instance == active.name  # told by itself or by its successor, whoever was quicker
    assert "ordered to fail" in ended.why
    until(lambda: "ordered to fail; it comes back in" in active.text, "its backoff to be told")
    assert cluster.stand() is not active
    assert cluster.window.line(cluster.service)[-1] == active.name, "the failed one is in line again, behind the others"
    assert state(worker) is not None, "a body that fails must not cost its worker"
    cluster.judge()


@pytest.mark.stores(thorough=True)
def test_f07_body_returns(cluster: Cluster) -> None:
    active = cluster.three()
    before = cluster.rows.last()
    assert before is not None
    cluster.order("return")
    until(lambda: shown(cluster, active.name).get("mode") == "completed", "the body to be shown as completed")
    assert shown(cluster, active.name)["token"] == before.token
    cluster.rows.read()
    written = len(cluster.rows.rows)
    pass_by(2.0)
    cluster.rows.read()
    assert len(cluster.rows.rows) == written, "somebody ran though the term was not over"
    holder = cluster.window.grant(cluster.service).holder
    assert holder is not None
    assert holder.instance == active.name, "the completed one keeps its grant"
    cluster.window.ask_to_resign(cluster.service, before.token, "was asked to resign")
    cluster.takeover(before.token, within=0.75 * cluster.ttl)
    cluster.judge()


@pytest.mark.stores(thorough=True)
@pytest.mark.cluster(ttl=2.0)
def test_f08_loop_is_blocked(cluster: Cluster) -> None:
    active = cluster.three()
    worker = cluster.pids(active).worker
    before = cluster.rows.last()
    assert before is not None
    cluster.order(f"block {2 * cluster.ttl}")
    pass_by(2 * cluster.ttl)
    later = until(lambda: cluster.rows.last_after(before.at + round(1.5e9 * cluster.ttl)), "the blocked body to go on")
    pass_by(cluster.ttl)  # a second warning would come now
    assert (later.token, later.pid) == (before.token, worker)
    assert cluster.stand() is active
    assert active.text.count("has not turned") == 1
    assert "in block_the_loop" in active.text, "the stack is not told"
    cluster.judge()


@pytest.mark.cluster(app="loaded")
def test_f01_nothing_is_loaded_in_a_takeover(cluster: Cluster) -> None:
    """A library that is first loaded in a term would hold up the loop for longer than the takeover takes."""
    cluster.three()
    until(lambda: len([*cluster.folder.glob("rows-stood-*")]) >= 2, "two that have stood by")
    found = hurt(cluster, "worker-killed", within=0.75 * cluster.ttl)
    noted = Path(f"{cluster.rows.path}-loaded-{found.new}")
    until(noted.exists, "the new one's modules")
    assert noted.read_text().splitlines() == []
    cluster.judge()
