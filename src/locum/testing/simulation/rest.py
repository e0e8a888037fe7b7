"""What must be true of the store when all is whole, nobody waits, and some time has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.coordination.line import line_prefix
from locum.coordination.members import FOLDER, Member
from locum.coordination.nodes import NODES, Node
from locum.testing.simulation.divided import undivided
from locum.testing.simulation.recipes import CREW
from locum.testing.simulation.servers import COUNTER, LOCK
from locum.testing.simulation.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.testing.simulation.cluster import Cluster

__all__ = ["is_undivided", "unrested"]

_CREW: Final = f"{NODES}{FOLDER}/{CREW}/"
_SWEPT_AFTER: Final = 11


def unrested(world: Cluster) -> list[str]:
    """What is not as it should be; each in a sentence."""
    shards = undivided(world.divided_alive) if world.shards else []
    return [*_ghosts(world), *_waiting(world), *_unseen(world), *_missing(world), *shards]


def is_undivided(world: Cluster) -> bool:
    """Whether shards have yet to find their places."""
    return bool(undivided(world.divided_alive))


def _ghosts(world: Cluster) -> Iterator[str]:
    """Places in the line, and members, of sessions that are not open."""
    open_ = world.server.sessions(NAMESPACE, None).by_id
    for what, prefix in (("ghost in the line", "line/"), ("ghost among the members", _CREW)):
        for record in world.server.list(NAMESPACE, prefix).records:
            if record.session not in open_:
                yield f"a {what}: {record.key} of the session {record.session}"


def _waiting(world: Cluster) -> Iterator[str]:
    """Whoever waits for the lock for ever, and places that somebody has left behind."""
    busy = [one.name for one in world.recipes_alive if not one.is_at_rest]
    if busy:
        yield f"{', '.join(busy)} had no last turn with the lock"
        return
    since = {event.facts["key"]: event.at for event in world.history.of("bound")}
    for record in world.server.list(NAMESPACE, line_prefix(f"lock/{LOCK}")).records:
        # one whose writing came late, when its candidate had left, is swept after ten TTLs (R17)
        if world.loop.now - since[record.key] > _SWEPT_AFTER * world.ttl:
            yield f"a ghost in the line: {record.key}, though nobody waits"


def _unseen(world: Cluster) -> Iterator[str]:
    """Watches that do not show the last state."""
    record = world.server.read(NAMESPACE, f"{NODES}{COUNTER}")
    last = None if record is None else Node.of(record)
    for one in world.recipes_alive:
        if one.shown != last:
            yield f"the last state was not shown to {one.name}: {one.shown}, and it is {last}"


def _missing(world: Cluster) -> Iterator[str]:
    """Instances that live and are no members, and members that are not there."""
    records = world.server.list(NAMESPACE, _CREW).records
    members = sorted(Member.of(Node.of(record)).instance for record in records)
    alive = sorted(one.name for one in world.recipes_alive)
    if members != alive:
        yield f"the members are {members}, and {alive} live"
