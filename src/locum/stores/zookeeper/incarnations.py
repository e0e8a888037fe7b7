"""The incarnation: made, followed, begun anew, opened; each by a change of one node's version (R24, R25)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from locum.names import random_id
from locum.stores.sight import difference, is_successor, missing, revision_above
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import Incarnation, Layout
from locum.stores.zookeeper.sessions import SessionTable
from locum.stores.zookeeper.transactions import node_of

if TYPE_CHECKING:
    from locum.store import Seen
    from locum.stores.zookeeper.transactions import Look, Turn

__all__ = ["adopt", "begin", "find", "lift", "make"]

_REMEMBERED = 16  # incarnations that an incarnation says it was begun after


async def find(turn: Turn, url: str) -> Seen:
    """What is there.

    Raises:
        StoreUnavailableError: Nothing is.
    """
    found = await turn.look_as_it_is()
    if found is None:
        raise missing(url)
    return found.seen


async def make(turn: Turn, layout: Layout, seen: Seen | None) -> Seen:
    """Make the store if there is none, in quarantine if one was seen before; and what the namespace needs."""
    while True:
        found = await turn.look_as_it_is()
        if found is not None:
            await turn.make_all(layout.parents)
            return found.seen
        await turn.make_all([*layout.ancestors, layout.namespaces])
        offset = 0 if seen is None else revision_above(seen.revision)
        made = Incarnation(random_id(), offset, quarantined=seen is not None)
        await turn.change_as_it_is(
            protocol.create(layout.store, made.to_bytes(), turn.rights), protocol.create(layout.tick, b"", turn.rights)
        )


async def adopt(turn: Turn, layout: Layout, seen: Seen | None, max_ttl: int) -> Seen:
    """Take what is there, if it is as it was seen or was begun after that; begin a new incarnation otherwise."""
    while True:
        await make(turn, layout, seen)
        found = await turn.look_as_it_is()
        if found is None:
            continue
        if difference(seen, found.seen) is None:
            return found.seen
        if seen is not None and is_successor(found.seen, seen) and seen.incarnation in found.incarnation.after:
            if found.incarnation.max_ttl >= max_ttl:
                return found.seen
            longer = replace(found.incarnation, max_ttl=max_ttl)
            if await _put(turn, layout, found, longer) is not None:
                continue
        else:
            begun = await _begin(turn, layout, found, seen, max_ttl)
            if begun is not None:
                return begun


async def begin(turn: Turn, layout: Layout, seen: Seen | None, max_ttl: int) -> Seen:
    """Begin a new incarnation in quarantine, whatever is there."""
    while True:
        await make(turn, layout, seen)
        found = await turn.look_as_it_is()
        begun = await _begin(turn, layout, found, seen, max_ttl) if found is not None else None
        if begun is not None:
            return begun


async def lift(turn: Turn, layout: Layout, incarnation: str) -> bool:
    """Open this incarnation, if it is still there."""
    while True:
        look = await turn.look()
        if look.incarnation.id != incarnation:
            return False
        if not look.incarnation.quarantined:
            return True
        changed = await _put(turn, layout, look, replace(look.incarnation, quarantined=False))
        if changed is not None:
            turn.note(look, changed)
            return True


async def _begin(turn: Turn, layout: Layout, found: Look, seen: Seen | None, max_ttl: int) -> Seen | None:
    """Begin a new incarnation in the place of the one found; `None` if somebody else was first."""
    (names,) = await turn.connection.ask_all(protocol.children(layout.namespaces))
    namespaces = [Layout(layout.root, name) for name in getattr(names, "what", [])]
    answers, _ = await turn.connection.get_each([one.namespace for one in namespaces])
    nodes = map(node_of, answers)
    longest = [int(node.value or b"0") for node in nodes if node is not None]
    before = [found.incarnation.id, *([seen.incarnation] if seen else []), *found.incarnation.after]
    begun = Incarnation(
        random_id(),
        revision_above(found.seen.revision, seen.revision if seen else 0) - found.zxid,
        quarantined=True,
        max_ttl=max(found.incarnation.max_ttl, max_ttl, *longest),
        after=tuple(dict.fromkeys(before))[:_REMEMBERED],
    )
    changed = await _put(turn, layout, found, begun)
    if changed is None:
        return None
    turn.adopt(begun.seen(changed))
    for one in namespaces:  # those of earlier incarnations are closed already; what is bound to them goes
        await SessionTable(one).statuses(turn, None)
    latest = await turn.look()
    turn.note(latest)
    return latest.seen


async def _put(turn: Turn, layout: Layout, found: Look, said: Incarnation) -> int | None:
    return await turn.change_as_it_is(
        protocol.put(layout.store, said.to_bytes(), found.version), protocol.put(layout.tick, b"")
    )
