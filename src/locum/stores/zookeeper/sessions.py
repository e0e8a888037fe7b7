"""The sessions: each a ZooKeeper session that holds an ephemeral node, beside a record that outlives it.

A record that is open, and whose ephemeral node is gone, is of a session that has expired. Whoever meets it writes its
tombstone, and takes what is bound to it away, in the same change. Who may only read takes it for closed all the same:
its ephemeral node is never made again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from locum.errors import ConflictError, SessionClosedError
from locum.store import SessionInfo, SessionState, SessionStatus
from locum.stores.sight import RENEWED
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import Life
from locum.stores.zookeeper.protocol import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.stores.zookeeper.layout import Layout
    from locum.stores.zookeeper.protocol import Request
    from locum.stores.zookeeper.transactions import Look, Turn

__all__ = ["EXPIRED", "SessionTable", "closed"]

EXPIRED: Final = b"fell silent: its ZooKeeper session has expired"


class SessionTable:
    """The sessions of one namespace.

    Args:
        layout: Where they are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    async def status(self, turn: Turn, session_id: str) -> tuple[Look, SessionStatus]:
        """What is known of a session; one that has expired gets its tombstone first."""
        while True:
            look, life, found = await self._find(turn, session_id)
            reason = self._end_of(look, life)
            if reason is None:
                return look, found
            if not await self._close(turn, session_id, reason, expired=reason is EXPIRED):
                return look, replace(found, state=SessionState.CLOSED, reason=reason)

    async def statuses(self, turn: Turn, ids: Iterable[str] | None) -> tuple[Look, dict[str, SessionStatus], int]:
        """These sessions, or all that are open; and the longest TTL."""
        layout = self._layout
        look = await turn.look(
            protocol.get(layout.namespace), protocol.children(layout.bound), protocol.children(layout.alive)
        )
        if ids is None:
            ids = look.names(1)
        by_id = {session_id: (await self.status(turn, session_id))[1] for session_id in ids}
        said = look.node(0)
        longest = max(int(said.value or b"0") if said else 0, look.incarnation.max_ttl)
        return look, by_id, longest

    async def bury(self, turn: Turn, session_id: str) -> bool:
        """Write the tombstone of a session if it has expired; false where this user may only read."""
        look, status = await self.status(turn, session_id)
        node = look.node(0)
        return not (status.is_closed and node and Life.from_bytes(node.value).reason is None)

    async def guard_open(self, turn: Turn, session_id: str) -> list[Request]:
        """What fails a change unless the session is open.

        Raises:
            SessionClosedError: It is not.
        """
        look, status = await self.status(turn, session_id)
        if not status.is_open:
            raise closed(status)
        return [protocol.check(self._record(session_id), _version(look)), protocol.check(self._alive(session_id), 0)]

    async def guard_gone(self, turn: Turn, session_id: str) -> list[Request] | None:
        """What fails a change unless the session is closed; `None` if it is not."""
        look, status = await self.status(turn, session_id)
        return [protocol.check(self._record(session_id), _version(look))] if status.is_closed else None

    async def open(self, turn: Turn, session_id: str, owner: bytes, ttl: int) -> SessionInfo:
        """Open a session as the one of this connection, or find it open."""
        layout, rights = self._layout, turn.rights
        while True:
            look, status = await self.status(turn, session_id)
            if status.is_closed:
                raise closed(status)
            if status.is_open:
                turn.note(look)
                return SessionInfo(session_id, status.ttl, look.incarnation.id)
            life = Life(look.incarnation.id, ttl, owner.hex())
            longest = await turn.look(protocol.get(layout.namespace))
            namespace = longest.node(0)
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
            look, status = await self.status(turn, session_id)
            turn.note(look)
            if not status.is_open:
                raise closed(status)
            found = await turn.look(protocol.get(self._beat(session_id)))
            node = found.node(0)
            if node is None:
                continue
            if int(node.value) >= number:
                why = f"its beat {number} is not newer than the last: a twin beats for it"
                raise ConflictError(f"session/{session_id}", None, why)
            guard = protocol.check(self._layout.store, look.version)
            put = protocol.put(self._beat(session_id), str(number).encode(), node.version)
            if await turn.change_as_it_is(guard, put) is not None:
                return

    async def close(self, turn: Turn, session_id: str, reason: bytes) -> bool:
        """Close a session that is open; what is bound to it goes with it.

        Returns:
            Whether it is closed now.
        """
        if not await self._close(turn, session_id, reason, expired=False):
            raise Refusal(protocol.NO_AUTH)
        _, status = await self.status(turn, session_id)
        return status.is_closed

    # -- inside

    async def _find(self, turn: Turn, session_id: str) -> tuple[Look, Life | None, SessionStatus]:
        look = await turn.look(protocol.get(self._record(session_id)), protocol.get(self._alive(session_id)))
        node = look.node(0)
        if node is None:
            return look, None, SessionStatus(session_id, SessionState.UNKNOWN)
        life = Life.from_bytes(node.value)
        owner = bytes.fromhex(life.owner)
        if life.reason is not None:
            reason = bytes.fromhex(life.reason)
            return look, life, SessionStatus(session_id, SessionState.CLOSED, owner, life.ttl, reason=reason)
        return look, life, SessionStatus(session_id, SessionState.OPEN, owner, life.ttl)

    @staticmethod
    def _end_of(look: Look, life: Life | None) -> bytes | None:
        """Why a session is over that has no tombstone yet; `None` if it is not."""
        if life is None or life.reason is not None:
            return None
        if life.incarnation != look.incarnation.id:
            return RENEWED
        return None if look.node(1) else EXPIRED

    async def _close(self, turn: Turn, session_id: str, reason: bytes, *, expired: bool) -> bool:
        """Close it, if it is open and, where it is taken for expired, has; false where this user may only read."""
        layout, record = self._layout, self._record(session_id)
        while True:
            look = await turn.look(
                protocol.get(record),
                protocol.get(self._bound(session_id)),
                protocol.children(self._bound(session_id)),
                protocol.get(self._alive(session_id)),
                protocol.get(self._beat(session_id)),
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
            if look.node(3) is not None:
                if expired:
                    return True  # it lives
                operations.append(protocol.delete(alive))
            else:  # made and deleted: so it is proven, in this very change, that it is not there
                operations += [protocol.create(alive, b"", turn.rights), protocol.delete(alive)]
            if look.node(4) is not None:
                operations.append(protocol.delete(beat))
            for name in look.names(2):
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


def _version(look: Look) -> int:
    node = look.node(0)
    assert node is not None  # noqa: S101 - its status says so
    return node.version
