"""F04: the active one is stopped as a whole, and comes back after others have taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.runs import count
from tests.faults.kit.waiting import pass_by

if TYPE_CHECKING:
    from tests.faults.kit.cluster import Cluster

SHORT_TTL = pytest.mark.cluster(ttl=1.5)


def freeze_for_three_ttls(cluster: Cluster, *, spinning: bool = False) -> None:
    """Freeze the active one, let it go on after 3 TTL, and judge what was written then and before."""
    cluster.renew()
    cluster.phase()
    active = cluster.stand()
    before = cluster.rows.last()
    assert before is not None
    if spinning:
        cluster.order("spin")
    frozen = cluster.freeze(active)
    pass_by(3 * cluster.ttl)
    cluster.resume(frozen)
    after = cluster.takeover(before.token)
    pass_by(0.3)  # an old body that lives would write now
    cluster.judge()
    ended = cluster.window.journal(cluster.service)[before.token]
    assert ended.instance == active.name
    assert ended.told_by == cluster.window.grant(cluster.service).holder.instance  # type: ignore[union-attr]
    assert ended.why == "died: its processes are gone" or ended.why.startswith("fell silent"), ended
    assert after.at > before.at


@pytest.mark.stores(thorough=True)
@SHORT_TTL
@pytest.mark.timeout(1800)
def test_f04_frozen(cluster: Cluster) -> None:
    for _ in range(count(25, small=2, on=cluster.place)):
        freeze_for_three_ttls(cluster)


@pytest.mark.stores(thorough=True)
@SHORT_TTL
def test_f04_frozen_while_the_loop_is_blocked(cluster: Cluster) -> None:
    """A body that looks at nothing would write on as soon as it may run again."""
    freeze_for_three_ttls(cluster, spinning=True)
