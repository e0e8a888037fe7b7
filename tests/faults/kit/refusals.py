"""A server that refuses for a while: whoever works says why and steps down in time, and somebody works afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.kit.cluster import Cluster

__all__ = ["refused_for_a_while"]


def refused_for_a_while(cluster: Cluster, harm: Callable[[], object], mend: Callable[[], object], *, said: str) -> None:
    """Three instances, of which one works, meet a server that refuses all that they ask.

    Args:
        cluster: Whose instances.
        harm: Has the server refuse.
        mend: Has it refuse no longer.
        said: What the active one must say of it.
    """
    active = cluster.three()
    before = cluster.last_row()
    harm()
    until(lambda: said in active.text, f"{active.name} to say {said!r}")
    pass_by(cluster.ttl)
    quiet = cluster.last_row()
    assert quiet.token == before.token, "nobody leads whose place in the store nobody can write"
    pass_by(0.5 * cluster.ttl)
    assert cluster.last_row() == quiet, "it works on without a lease"
    mend()
    cluster.takeover(before.token)
    cluster.stand()
    cluster.judge()
