"""F42, F45, F46: what a server does to those who share it, and they to it.

It restarts, for a moment and for three TTLs; its wall clock jumps; a hundred, and a thousand, wait for one to die.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.kit import judges
from tests.faults.kit.cluster import Cluster
from tests.faults.kit.crowds import calls_until_the_next
from tests.faults.kit.places import SERVERS, ServerPlace
from tests.faults.kit.rows import now
from tests.faults.kit.runs import FULL
from tests.faults.kit.waiting import pass_by
from tests.faults.kit.wallclocks import AHEAD, NEEDS_LIBFAKETIME, steps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.kit.places import Place

pytestmark = [pytest.mark.stores(*SERVERS, own=True, thorough=True), pytest.mark.timeout(1800)]

ENOUGH: Final = 20
"""Store calls until the next one is active, with a hundred who wait."""


def restart(place: Place) -> float:
    """Restart the server; how long nobody listened, in seconds."""
    assert isinstance(place, ServerPlace)
    begun = time.monotonic()
    with place.ended():
        pass
    return time.monotonic() - begun


def test_f42_server_restarts_for_a_moment(tmp_path: Path, place: Place) -> None:
    """Within a fifth of the TTL, which is made to fit the server: nobody notices.

    What is timed for that is a server that has nobody to part from; with a cluster on it, or beside other work, it may
    take three times as long.
    """
    took = max(restart(place) for _ in range(2))
    with Cluster(tmp_path, place=place, ttl=max(8.0, 15 * took)) as cluster:
        active = cluster.three()
        sessions = {name: status.id for name, status in cluster.window.sessions().items()}
        before = cluster.last_row()
        took = restart(place)
        assert took < cluster.ttl / 5, f"this test wants a restart within a fifth of the TTL, and it took {took:.1f} s"
        back = now()
        pass_by(1.2 * cluster.ttl)  # whoever had not beaten since would be lost by now
        assert cluster.stand() is active
        assert {name: status.id for name, status in cluster.window.sessions().items()} == sessions
        last = cluster.last_row()
        assert (last.token, last.pid) == (before.token, before.pid)
        assert last.at > back
        cluster.judge()


@pytest.mark.cluster(ttl=2.0)
def test_f42_server_is_gone_for_three_ttls(cluster: Cluster) -> None:
    """The active one has stepped down in time; when the server is back, one leads, with a higher token."""
    assert isinstance(cluster.place, ServerPlace)
    cluster.three()
    before = cluster.last_row()
    cluster.order("spin")  # a body that looks at nothing: it has to be ended
    with cluster.place.ended():
        gone = now()
        pass_by(3 * cluster.ttl)
        late = judges.rows_after(cluster.rows.read(), before.token, gone + round(0.85e9 * cluster.ttl))
        assert not late, "\n".join(late)
        assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
    after = cluster.takeover(before.token)
    assert len(cluster.alive()) == 3, "somebody did not wait for the store"
    cluster.stand()
    assert cluster.window.grant(cluster.service).token == after.token
    cluster.judge()


@NEEDS_LIBFAKETIME
@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD] if FULL else [AHEAD], ids=lambda ahead: f"{ahead:+d}-s")
def test_f45_wall_clock_of_the_server_steps(tmp_path: Path, place: Place, ahead: int) -> None:
    """Nobody on the server's side tells the time: no session ends before its time, and none lives on after it."""
    assert isinstance(place, ServerPlace)
    with steps(place.server, tmp_path / "wall") as step, Cluster(tmp_path, place=place, ttl=2.0) as cluster:
        active = cluster.three()
        sessions = {name: status.id for name, status in cluster.window.sessions().items()}
        before = cluster.last_row()
        step(ahead)
        stepped = now()
        pass_by(2 * cluster.ttl)
        last = cluster.last_row()
        assert (last.token, last.pid) == (before.token, before.pid), "the leader has changed"
        assert last.at > stepped + round(1.5e9 * cluster.ttl), "the leader has lost its term"
        assert cluster.stand() is active
        assert {name: status.id for name, status in cluster.window.sessions().items()} == sessions
        frozen = cluster.freeze(active)
        cluster.takeover(before.token, within=5 * cluster.ttl)
        cluster.resume(frozen)
        cluster.stand()
        cluster.judge()


def test_f46_many_wait(tmp_path: Path, place: Place) -> None:
    """The store is asked a handful of times until the next one works, however many wait."""
    assert isinstance(place, ServerPlace)
    hundred = calls_until_the_next(tmp_path, place, waiting=100)
    assert hundred <= ENOUGH * place.requests, f"{hundred} requests until the next of 100 was active"
    if FULL:
        thousand = calls_until_the_next(tmp_path, place.another(), waiting=1000)
        assert thousand < 2 * hundred, f"{thousand} requests with 1000 who wait, {hundred} with 100"
