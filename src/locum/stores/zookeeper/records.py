"""The records: a look, the demand, and the operations that decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.errors import ConflictError
from locum.store import ABSENT, ANY, Listing, Record, not_empty
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import Kept
from locum.stores.zookeeper.transactions import node_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from locum.store import Expect
    from locum.stores.zookeeper.layout import Layout
    from locum.stores.zookeeper.protocol import Request
    from locum.stores.zookeeper.sessions import SessionTable
    from locum.stores.zookeeper.transactions import Look, Turn

__all__ = ["RecordTable"]

_TRIES = 3  # of a list, to be read while nothing changes: in a crowd each would be read as often, and is long


@dataclass(frozen=True, slots=True)
class _Found:
    """A key as a look has found it: its record and node, and the version of its folder's counter."""

    look: Look
    record: Record | None
    kept: Kept | None
    version: int
    folder: int | None


class RecordTable:
    """The records of one namespace.

    Args:
        layout: Where they are.
        sessions: The sessions that they are bound to.
    """

    def __init__(self, layout: Layout, sessions: SessionTable) -> None:
        self._layout, self._sessions = layout, sessions

    async def read(self, turn: Turn, key: str) -> Record | None:
        """The latest record of a key."""
        found = await self._find(turn, key)
        turn.note(found.look)
        return found.record

    async def write(
        self,
        turn: Turn,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None,
        if_open: str | None,
        if_gone: str | None,
        if_empty: str | None,
        drop: str | None,
    ) -> Record:
        """Compare and set."""
        while True:
            found = await self._find(turn, key)
            _demand(key, expect, found.record)
            guards: list[Request] = []
            for guard in {session, if_open} - {None}:
                assert guard is not None  # noqa: S101 - taken out
                guards += await self._sessions.guard_open(turn, guard)
            if if_gone is not None:
                held = await self._sessions.guard_gone(turn, if_gone)
                if held is None:
                    raise ConflictError(key, found.record, f"the session {if_gone} is not closed")
                guards += held
            if if_empty is not None:
                alone = await self._guard_empty(turn, if_empty)
                if alone is None:
                    raise not_empty(key, found.record, if_empty)
                guards += alone
            if found.folder is None:
                await self._make_folder(turn, key)
                continue
            offset = found.look.incarnation.offset
            kept = Kept(value, session, found.kept.made if found.kept else offset, offset)
            dropping = [] if drop is None else self._delete(turn, drop, await self._find(turn, drop))
            changed = await turn.change(
                found.look,
                *guards,
                *self._put(turn, key, kept, found),
                *self._bind(turn, key, session, found),
                *dropping,
            )
            if changed is None:
                continue
            turn.note(found.look, changed)
            created = found.record.created if found.record else offset + changed
            return Record(key, value, offset + changed, created, session)

    async def delete(self, turn: Turn, key: str, expect: Expect) -> None:
        """Compare and delete."""
        while True:
            found = await self._find(turn, key)
            turn.note(found.look)
            if found.record is None:
                return
            _demand(key, expect, found.record)
            changed = await turn.change(
                found.look,
                protocol.check(self._layout.counter(key), found.folder or 0),
                *self._delete(turn, key, found),
            )
            if changed is not None:
                turn.note(found.look, changed)
                return

    async def under(self, turn: Turn, prefix: str, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation, as they were at one revision.

        While others write all the time, some may be newer than that; none is older. All are read, also where only
        those after a revision are wanted: only the records themselves say when they were written.
        """
        tries = 0
        while True:
            begun, records = await self._all_under(turn, prefix)
            alive = protocol.children(self._layout.alive)
            ended = await turn.look(alive)
            dead = {one.session for one in records if one.session is not None} - set(ended.names(0))
            if dead and all([await self._sessions.bury(turn, one) for one in dead]):
                continue
            records = [one for one in records if one.session not in dead]
            tries += 1
            if begun.seen == ended.seen or tries == _TRIES:
                turn.note(begun)
                wanted = [one for one in records if after is None or one.revision > after or one.key in named]
                wanted.sort(key=lambda record: record.created)
                return Listing(wanted, begun.seen.revision, begun.incarnation.id, len(records))

    # -- inside

    async def _all_under(self, turn: Turn, prefix: str) -> tuple[Look, list[Record]]:
        layout, folders = self._layout, await self._folders(turn, prefix)
        look = await turn.look(*(protocol.children(f"{layout.records}/{folder}") for folder in folders))
        keys = self._keys(look, folders, prefix)
        answers = await turn.connection.get_each([layout.record(key) for key in keys])
        nodes = zip(keys, map(node_of, answers), strict=True)
        return look, [Kept.from_node(key, node)[1] for key, node in nodes if node is not None]

    async def _folders(self, turn: Turn, prefix: str) -> list[str]:
        """In which the keys are that begin with a prefix."""
        layout = self._layout
        if "/" in prefix:
            return [layout.folder(prefix)]
        names = (await turn.look(protocol.children(layout.records))).names(0)
        return [one for one in names if one == layout.folder("") or one.startswith(prefix)]

    def _keys(self, look: Look, folders: Sequence[str], prefix: str, *, first: int = 0) -> list[str]:
        """The keys of a look that has asked for these folders' children, from a place on."""
        found = (self._layout.key(folder, name) for at, folder in enumerate(folders, first) for name in look.names(at))
        return [key for key in found if key.startswith(prefix)]

    async def _guard_empty(self, turn: Turn, prefix: str) -> list[Request] | None:
        """What fails a change unless no record is under a prefix; `None` if one is."""
        folders = await self._folders(turn, prefix)
        counters = [f"{self._layout.made}/{folder}" for folder in folders]
        while True:
            children = [protocol.children(f"{self._layout.records}/{folder}") for folder in folders]
            # the counters are read first: what they say is not newer than the children
            look = await turn.look(*map(protocol.get, counters), *children)
            if not self._keys(look, folders, prefix, first=len(counters)):
                break
            if (await self.under(turn, prefix)).records:
                return None
            # what was there was of a session that has expired, and is buried now
        nodes = ((path, look.node(at)) for at, path in enumerate(counters))
        return [protocol.check(path, node.version) for path, node in nodes if node is not None]

    async def _find(self, turn: Turn, key: str) -> _Found:
        while True:
            # the counter is read first: what it says is not newer than the record
            look = await turn.look(
                protocol.get(self._layout.counter(key)),
                protocol.get(self._layout.record(key)),
                protocol.children(self._layout.alive),
            )
            counter, node = look.node(0), look.node(1)
            folder = counter.version if counter else None
            if node is None:
                return _Found(look, None, None, -1, folder)
            kept, record = Kept.from_node(key, node)
            if record.session is not None and record.session not in look.names(2):
                if await self._sessions.bury(turn, record.session):
                    continue
                return _Found(look, None, None, -1, folder)
            return _Found(look, record, kept, node.version, folder)

    def _put(self, turn: Turn, key: str, kept: Kept, found: _Found) -> list[Request]:
        path, counter = self._layout.record(key), self._layout.counter(key)
        if found.record is None:
            return [protocol.create(path, kept.to_bytes(), turn.rights), protocol.put(counter, b"")]
        # a version begins again with a node that is made again; the counter's never does
        return [protocol.check(counter, found.folder or 0), protocol.put(path, kept.to_bytes(), found.version)]

    def _delete(self, turn: Turn, key: str, found: _Found) -> list[Request]:
        if found.record is None:
            return []
        gone = protocol.delete(self._layout.record(key), found.version)
        return [gone, protocol.put(self._layout.counter(key), b""), *self._bind(turn, key, None, found)]

    def _bind(self, turn: Turn, key: str, session: str | None, found: _Found) -> list[Request]:
        before = found.record.session if found.record else None
        if before == session:
            return []
        operations: list[Request] = []
        if before is not None:
            operations.append(protocol.delete(self._layout.mark(before, key)))
        if session is not None:
            operations.append(protocol.create(self._layout.mark(session, key), b"", turn.rights))
            operations.append(protocol.put(f"{self._layout.bound}/{session}", b""))  # a close looks again
        return operations

    async def _make_folder(self, turn: Turn, key: str) -> None:
        layout = self._layout
        await turn.make_all([*layout.parents, f"{layout.records}/{layout.folder(key)}", layout.counter(key)])


def _demand(key: str, expect: Expect, current: Record | None) -> None:
    if expect is ANY:
        return
    if expect is ABSENT:
        if current is not None:
            raise ConflictError(key, current, "it exists already")
    elif current is None or current.revision != expect:
        raise ConflictError(key, current)
