"""The records: a look, the demand, and the operations that decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.errors import ConflictError
from locum.store import ABSENT, ANY, Listing, Record, not_empty
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import Kept

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from locum.store import Expect
    from locum.stores.zookeeper.layout import Layout
    from locum.stores.zookeeper.protocol import Request
    from locum.stores.zookeeper.sessions import Known, SessionTable
    from locum.stores.zookeeper.transactions import Look, Turn

__all__ = ["RecordTable"]

_TRIES = 3  # of a list, to be read while nothing changes: in a crowd each would be read as often, and is long


@dataclass(frozen=True, slots=True)
class _Found:
    """A key as a look has found it: its record and node, and the version of its folder's counter."""

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
        look, _, (found,) = await self._find(turn, [key])
        turn.note(look)
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
        open_ids = [one for one in dict.fromkeys((session, if_open)) if one is not None]
        named = open_ids if if_gone is None else [*open_ids, if_gone]
        dropped = [] if drop is None else [drop]
        while True:
            look, known, (found, *dropping) = await self._find(turn, [key, *dropped], named)
            _demand(key, expect, found.record)
            guards: list[Request] = []
            for one in open_ids:
                guards += self._sessions.guard_open(known[one])
            if if_gone is not None:
                if not known[if_gone].status.is_closed:
                    raise ConflictError(key, found.record, f"the session {if_gone} is not closed")
                guards.append(self._sessions.guard(known[if_gone]))
            if if_empty is not None:
                alone = await self._guard_empty(turn, if_empty)
                if alone is None:
                    raise not_empty(key, found.record, if_empty)
                guards += alone
            if found.folder is None:
                await self._make_folder(turn, key)
                continue
            offset = look.incarnation.offset
            kept = Kept(value, session, found.kept.made if found.kept else offset, offset)
            operations = [*self._put(turn, key, kept, found), *self._bind(turn, key, session, found)]
            for other, entry in zip(dropped, dropping, strict=True):
                operations += self._delete(turn, other, entry)
            changed = await turn.change(look, *guards, *operations)
            if changed is None:
                continue
            turn.note(look, changed)
            created = found.record.created if found.record else offset + changed
            return Record(key, value, offset + changed, created, session)

    async def delete(self, turn: Turn, key: str, expect: Expect) -> None:
        """Compare and delete."""
        while True:
            look, _, (found,) = await self._find(turn, [key])
            turn.note(look)
            if found.record is None:
                return
            _demand(key, expect, found.record)
            changed = await turn.change(
                look,
                protocol.check(self._layout.counter(key), found.folder or 0),
                *self._delete(turn, key, found),
            )
            if changed is not None:
                turn.note(look, changed)
                return

    async def under(self, turn: Turn, prefix: str, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation, as they were at one revision.

        While others write all the time, some may be newer than that; none is older. All are read, also where only
        those after a revision are wanted: only the records themselves say when they were written.
        """
        layout, tries = self._layout, 0
        while True:
            first, folders = await self._folders(turn, prefix)
            look = await turn.look(children=[f"{layout.records}/{folder}" for folder in folders])
            begun, keys = first or look, self._keys(look, folders, prefix)
            ended = await turn.look(before=[layout.record(key) for key in keys], children=[layout.alive])
            nodes = [(key, ended.node(at)) for at, key in enumerate(keys)]
            records = [Kept.from_node(key, node)[1] for key, node in nodes if node is not None]
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

    async def _folders(self, turn: Turn, prefix: str) -> tuple[Look | None, list[str]]:
        """In which the keys are that begin with a prefix, and the look that has shown it, if one was needed."""
        layout = self._layout
        if "/" in prefix:
            return None, [layout.folder(prefix)]
        look = await turn.look(children=[layout.records])
        return look, [one for one in look.names(0) if one == layout.folder("") or one.startswith(prefix)]

    def _keys(self, look: Look, folders: Sequence[str], prefix: str) -> list[str]:
        """The keys of a look that has asked for these folders' children."""
        found = (self._layout.key(folder, name) for at, folder in enumerate(folders) for name in look.names(at))
        return [key for key in found if key.startswith(prefix)]

    async def _guard_empty(self, turn: Turn, prefix: str) -> list[Request] | None:
        """What fails a change unless no record is under a prefix; `None` if one is."""
        _, folders = await self._folders(turn, prefix)
        counters = [f"{self._layout.made}/{folder}" for folder in folders]
        while True:
            # what the counters say is not newer than the children
            look = await turn.look(*counters, children=[f"{self._layout.records}/{folder}" for folder in folders])
            if not self._keys(look, folders, prefix):
                break
            if (await self.under(turn, prefix)).records:
                return None
            # what was there was of a session that has expired, and is buried now
        nodes = ((path, look.node(at)) for at, path in enumerate(counters))
        return [protocol.check(path, node.version) for path, node in nodes if node is not None]

    async def _find(
        self, turn: Turn, keys: Sequence[str], sessions: Sequence[str] = ()
    ) -> tuple[Look, Mapping[str, Known], list[_Found]]:
        """One look at keys, and after them at sessions."""
        layout = self._layout
        # a counter is read first: what it says is not newer than the record
        nodes = [path for key in keys for path in (layout.counter(key), layout.record(key))]
        while True:
            look = await turn.look(*nodes, *self._sessions.nodes(*sessions), children=[layout.alive])
            known = await self._sessions.known(turn, look, sessions, first=len(nodes))
            found = [await self._found(turn, look, key, at) for at, key in enumerate(keys)]
            if known is not None and None not in found:
                return look, known, [one for one in found if one is not None]

    async def _found(self, turn: Turn, look: Look, key: str, at: int) -> _Found | None:
        """What a look has found of a key; `None` if that died with its session, and is to be looked at again."""
        counter, node = look.node(2 * at), look.node(2 * at + 1)
        folder = counter.version if counter else None
        if node is None:
            return _Found(None, None, -1, folder)
        kept, record = Kept.from_node(key, node)
        if record.session is not None and record.session not in look.names(0):
            return None if await self._sessions.bury(turn, record.session) else _Found(None, None, -1, folder)
        return _Found(record, kept, node.version, folder)

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
