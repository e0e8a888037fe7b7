"""The sessions: each a ZooKeeper session that holds an ephemeral node, beside a record that outlives it.

A record that is open, and whose ephemeral node is gone, is of a session that has expired. Whoever meets it writes its
tombstone, and takes what is bound to it away, in the same change. Who may only read takes it for closed all the same:
its ephemeral node is never made again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from locum.errors import ConflictError, SessionClosedError
from locum.store import SessionInfo, SessionState, SessionStatus
from locum.stores.sight import RENEWED
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import Life
from locum.stores.zookeeper.protocol import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from locum.stores.zookeeper.layout import Layout
    from locum.stores.zookeeper.protocol import Node, Request
    from locum.stores.zookeeper.transactions import Look, Turn

__all__ = ["EXPIRED", "Known", "SessionTable", "closed"]

EXPIRED: Final = b"fell silent: its ZooKeeper session has expired"


@dataclass(frozen=True, slots=True)
class Known:
    """What a look has found of a session.

    Attributes:
        status: What is known of it.
        version: Of its record; -1 if there is none.
        has_tombstone: Whether its record says all; not so of one that is over and that this user must not bury.
    """

    status: SessionStatus
    version: int
    has_tombstone: bool


class SessionTable:
    """The sessions of one namespace.

    Args:
        layout: Where they are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def nodes(self, *ids: str) -> list[str]:
        """What a look has to ask for to know of sessions: two nodes of each.

        The record is read first: of a session that is opened between the two nothing is known, and it is not taken for
        one that has expired.
        """
        return [path for one in ids for path in (self._record(one), self._alive(one))]

    async def known(self, turn: Turn, look: Look, ids: Sequence[str], *, first: int = 0) -> dict[str, Known] | None:
        """What a look has found of sessions whose nodes it has asked for, from a place on.

        Returns:
            It, by id; `None` if one of them had expired: it has its tombstone now, and all is to be looked at again.
        """
        found: dict[str, Known] = {}
        is_latest = True
        for at, session_id in enumerate(ids):
            node, alive = look.node(first + 2 * at), look.node(first + 2 * at + 1)
            life, status = self._find(session_id, node)
            reason = self._end_of(look, life, is_alive=alive is not None)
            if reason is not None:
                if await self._close(turn, session_id, reason, expired=reason is EXPIRED):
                    is_latest = False
                status = replace(status, state=SessionState.CLOSED, reason=reason)
            found[session_id] = Known(status, -1 if node is None else node.version, has_tombstone=reason is None)
        return found if is_latest else None

    async def status(self, turn: Turn, session_id: str) -> tuple[Look, SessionStatus]:
        """What is known of a session; one that has expired gets its tombstone first."""
        look, by_id = await self._look(turn, [session_id])
        return look, by_id[session_id].status

    async def statuses(self, turn: Turn, ids: Iterable[str] | None) -> tuple[Look, dict[str, SessionStatus], int]:
        """These sessions, or all that are open; and the longest TTL."""
        layout = self._layout
        if ids is None:
            first = await turn.look(layout.namespace, children=[layout.bound])
            _, known = await self._look(turn, first.names(0))
        else:
            first, known = await self._look(turn, list(ids), layout.namespace)
        said = first.node(0)
        longest = max(int(said.value or b"0") if said else 0, first.incarnation.max_ttl)
        return first, {one: found.status for one, found in known.items()}, longest

    async def bury(self, turn: Turn, session_id: str) -> bool:
        """Write the tombstone of a session if it has expired; false where this user may only read."""
        _, by_id = await self._look(turn, [session_id])
        found = by_id[session_id]
        return found.has_tombstone or not found.status.is_closed

    def guard(self, found: Known) -> Request:
        """What fails a change if the record of a session is not as it was found any more."""
        return protocol.check(self._record(found.status.id), found.version)

    def guard_open(self, found: Known) -> list[Request]:
        """What fails a change unless the session is open.

        Raises:
            SessionClosedError: It is not.
        """
        if not found.status.is_open:
            raise closed(found.status)
        return [self.guard(found), protocol.check(self._alive(found.status.id), 0)]

    async def open(self, turn: Turn, session_id: str, owner: bytes, ttl: int) -> SessionInfo:
        """Open a session as the one of this connection, or find it open."""
        layout, rights = self._layout, turn.rights
        while True:
            look, by_id = await self._look(turn, [session_id], layout.namespace)
            status = by_id[session_id].status
            if status.is_closed:
                raise closed(status)
            if status.is_open:
                turn.note(look)
                return SessionInfo(session_id, status.ttl, look.incarnation.id)
            life = Life(look.incarnation.id, ttl, owner.hex())
            namespace = look.node(0)
            assert namespace is not None  # noqa: S101 - made when the store was opened
            operations = [
                protocol.create(self._record(session_id), life.to_bytes(), rights),
                protocol.create(self._bound(session_id), b"", rights),
                protocol.create(self._beat(session_id), b"0", rights, ephemeral=True),
                protocol.create(self._alive(session_id), b"", rights, ephemeral=True),
            ]
            if int(namespace.value or b"0") < ttl:
                operations.append(protocol.put(layout.namespace, str(ttl).encode(), namespace.version))
            changed = await turn.change(look, *operations)
            if changed is not None:
                turn.note(look, changed)
                return SessionInfo(session_id, ttl, look.incarnation.id)

    async def beat(self, turn: Turn, session_id: str, number: int) -> None:
        """Write a beat, on the connection whose session it is (R27): the quorum has seen it live."""
        while True:
            look, by_id = await self._look(turn, [session_id], self._beat(session_id))
            status, node = by_id[session_id].status, look.node(0)
            turn.note(look)
            if not status.is_open:
                raise closed(status)
            if node is None:
                continue
            if int(node.value) >= number:
                why = f"its beat {number} is not newer than the last: a twin beats for it"
                raise ConflictError(f"session/{session_id}", None, why)
            guard = protocol.check(self._layout.store, look.version)
            put = protocol.put(self._beat(session_id), str(number).encode(), node.version)
            if await turn.change_as_it_is(guard, put) is not None:
                return

    async def close(self, turn: Turn, session_id: str, reason: bytes) -> None:
        """Close a session that is open; what is bound to it goes with it."""
        if not await self._close(turn, session_id, reason, expired=False):
            raise Refusal(protocol.NO_AUTH)

    # -- inside

    async def _look(self, turn: Turn, ids: Sequence[str], *nodes: str) -> tuple[Look, dict[str, Known]]:
        """A look at some nodes and, after them, at sessions."""
        while True:
            look = await turn.look(*nodes, *self.nodes(*ids))
            found = await self.known(turn, look, ids, first=len(nodes))
            if found is not None:
                return look, found

    @staticmethod
    def _find(session_id: str, node: Node | None) -> tuple[Life | None, SessionStatus]:
        """What its record says of a session."""
        if node is None:
            return None, SessionStatus(session_id, SessionState.UNKNOWN)
        life = Life.from_bytes(node.value)
        owner = bytes.fromhex(life.owner)
        if life.reason is not None:
            reason = bytes.fromhex(life.reason)
            return life, SessionStatus(session_id, SessionState.CLOSED, owner, life.ttl, reason=reason)
        return life, SessionStatus(session_id, SessionState.OPEN, owner, life.ttl)

    @staticmethod
    def _end_of(look: Look, life: Life | None, *, is_alive: bool) -> bytes | None:
        """Why a session is over that has no tombstone yet; `None` if it is not."""
        if life is None or life.reason is not None:
            return None
        if life.incarnation != look.incarnation.id:
            return RENEWED
        return None if is_alive else EXPIRED

    async def _close(self, turn: Turn, session_id: str, reason: bytes, *, expired: bool) -> bool:
        """Close it, if it is open and, where it is taken for expired, has; false where this user may only read."""
        layout, record = self._layout, self._record(session_id)
        while True:
            look = await turn.look(
                record,
                self._bound(session_id),
                self._alive(session_id),
                self._beat(session_id),
                children=[self._bound(session_id)],
            )
            turn.note(look)
            node, bound = look.node(0), look.node(1)
            if node is None or bound is None:
                return True
            life = Life.from_bytes(node.value)
            alive, beat = self._alive(session_id), self._beat(session_id)
            operations: list[Request] = [
                protocol.put(record, replace(life, reason=reason.hex()).to_bytes(), node.version)
            ]
            if look.node(2) is not None:
                if expired:
                    return True  # it lives
                operations.append(protocol.delete(alive))
            else:  # made and deleted: so it is proven, in this very change, that it is not there
                operations += [protocol.create(alive, b"", turn.rights), protocol.delete(alive)]
            if look.node(3) is not None:
                operations.append(protocol.delete(beat))
            for name in look.names(0):
                key = layout.marked(name)
                operations += [
                    protocol.delete(layout.record(key)),
                    protocol.put(layout.counter(key), b""),
                    protocol.delete(layout.mark(session_id, key)),
                ]
            operations.append(protocol.delete(self._bound(session_id), bound.version))
            try:
                changed = await turn.change(look, *operations)
            except Refusal as refusal:
                if refusal.code == protocol.NO_AUTH:
                    return False
                raise
            if changed is not None:
                turn.note(look, changed)
                return True

    def _record(self, session_id: str) -> str:
        return f"{self._layout.sessions}/{session_id}"

    def _alive(self, session_id: str) -> str:
        return f"{self._layout.alive}/{session_id}"

    def _beat(self, session_id: str) -> str:
        return f"{self._layout.beats}/{session_id}"

    def _bound(self, session_id: str) -> str:
        return f"{self._layout.bound}/{session_id}"


def closed(status: SessionStatus) -> SessionClosedError:
    """The error for a session that is not open."""
    return SessionClosedError(status.id, status.reason.decode("utf-8", "replace"))
