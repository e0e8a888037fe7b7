"""How a call becomes one change that happens as a whole or not at all: look, compare with what was seen, `multi`.

What is looked at only says what to try. The `multi` decides: it checks the version of everything that was leaned on,
and where one has changed meanwhile, it is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from locum.clock import nanoseconds, seconds
from locum.errors import SchemaError, StoreUnavailableError
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.layout import SCHEMA, Incarnation
from locum.stores.zookeeper.protocol import Answer, Node, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from locum.clock import Clock
    from locum.store import Seen
    from locum.stores.link import Link
    from locum.stores.sight import Sight
    from locum.stores.zookeeper.connection import ZooKeeperConnection
    from locum.stores.zookeeper.layout import Layout
    from locum.stores.zookeeper.protocol import Request, Rights

__all__ = ["Look", "Transactions", "Turn", "node_of"]

T = TypeVar("T")
_CHANGED_MEANWHILE = (protocol.BAD_VERSION, protocol.NO_NODE, protocol.NODE_EXISTS, protocol.NOT_EMPTY)


@dataclass(frozen=True, slots=True)
class Look:
    """The store as a look has found it.

    Attributes:
        incarnation: What `store` says.
        version: Its version.
        zxid: Of the last change.
        nodes: Those that were asked for, in the order of reading; a refusal is in the place of what is not there.
        children: The same of whose children were asked for.
    """

    incarnation: Incarnation
    version: int
    zxid: int
    nodes: Sequence[Answer | Refusal]
    children: Sequence[Answer | Refusal]

    @property
    def seen(self) -> Seen:
        """The identity, and the revision."""
        return self.incarnation.seen(self.zxid)

    def node(self, place: int) -> Node | None:
        """The node that was asked for there; `None` if there is none."""
        return node_of(self.nodes[place])

    def names(self, place: int) -> list[str]:
        """The children that were asked for there."""
        answer = self.children[place]
        if isinstance(answer, Answer):
            return list(answer.what)
        if answer.code != protocol.NO_NODE:
            raise answer
        return []


def node_of(answer: Answer | Refusal) -> Node | None:
    """The node of an answer; `None` if there is none."""
    if isinstance(answer, Answer):
        assert isinstance(answer.what, Node)  # noqa: S101 - it was asked for
        return answer.what
    if answer.code != protocol.NO_NODE:
        raise answer
    return None


class Turn:
    """One connection, for the length of one call.

    Args:
        connection: The connection.
        layout: Where everything is.
        sight: What this process has seen of the store.
        url: The store's URL, for messages.
        seen: What it had seen before the call.
    """

    def __init__(
        self, connection: ZooKeeperConnection, layout: Layout, sight: Sight, url: str, seen: Seen | None
    ) -> None:
        self.connection, self._layout, self._sight, self._url, self._seen = connection, layout, sight, url, seen

    @property
    def rights(self) -> Rights:
        """Those of the nodes that are made."""
        return self.connection.rights

    async def look(self, *nodes: str, before: Sequence[str] = (), children: Sequence[str] = ()) -> Look:
        """The latest of the store, and of what is asked for besides, in one trip; compared with what was seen (R24).

        What is read later is as new or newer.

        Args:
            nodes: The paths of nodes, which are read after the store and in their order.
            before: The paths of nodes that are read before the store.
            children: The paths of nodes whose children are read after all that.

        Raises:
            StoreReplacedError: It is not the one that was seen.
            SchemaError: It was written by a newer release.
        """
        found = await self.look_as_it_is(*nodes, before=before, children=children)
        if found is None:
            raise self._sight.replaced("it is gone", seen=self._seen)
        self._sight.compare(self._seen, found.seen)
        return found

    async def look_as_it_is(self, *nodes: str, before: Sequence[str] = (), children: Sequence[str] = ()) -> Look | None:
        """The same without comparing; `None` if there is no store."""
        layout = self._layout
        found, (_, *names) = await self.connection.get_each(
            [*before, layout.store, layout.tick, *nodes],
            before=[protocol.sync(layout.root or "/")],
            after=[protocol.children(path) for path in children],
        )
        said, touched = (node_of(found.pop(len(before))) for _ in range(2))
        if said is None or touched is None:
            return None
        incarnation = Incarnation.from_bytes(said.value)
        if incarnation.least_reader > SCHEMA:
            raise SchemaError(self._url, incarnation.least_reader, SCHEMA)
        return Look(incarnation, said.version, touched.changed, found, names)

    async def change(self, look: Look, *operations: Request) -> int | None:
        """Do all of it, if the store is in the incarnation that was looked at.

        Returns:
            The zxid of the change; `None` if something has changed meanwhile, and nothing was done.
        """
        guard = protocol.check(self._layout.store, look.version)
        return await self.change_as_it_is(guard, *operations, protocol.put(self._layout.tick, b""))

    async def change_as_it_is(self, *operations: Request) -> int | None:
        """The same without a guard."""
        try:
            return (await self.connection.ask(protocol.multi(*operations))).zxid
        except Refusal as refusal:
            if refusal.code in _CHANGED_MEANWHILE:
                return None
            raise

    async def make_all(self, paths: Sequence[str]) -> None:
        """Make those nodes that are not there, in one change; parents stand before their children."""
        while True:
            nodes = map(node_of, (await self.connection.get_each(paths))[0])
            missing = [path for path, node in zip(paths, nodes, strict=True) if node is None]
            made = [protocol.create(path, b"", self.rights) for path in missing]
            if not made or await self.change_as_it_is(*made) is not None:
                return

    def adopt(self, seen: Seen) -> None:
        """Go on from what a change of ours has made of the store."""
        self._seen = seen
        self._sight.adopt(seen)

    def note(self, look: Look, zxid: int | None = None) -> None:
        """Remember what was found, or what a change of ours has made of it."""
        self._sight.note(look.incarnation.seen(max(look.zxid, zxid or 0)))


class Transactions:
    """The calls of one connection to a store.

    Args:
        layout: Where everything is.
        sight: What this process has seen of the store.
        url: The store's URL, for messages.
        timeout: Asked for the seconds that a call may take.
        clock: Measures what is left of them.
    """

    def __init__(self, layout: Layout, sight: Sight, url: str, timeout: Callable[[], float], clock: Clock) -> None:
        self._layout, self._sight, self._url, self._timeout = layout, sight, url, timeout
        self._clock = clock

    async def call(
        self,
        link: Link[ZooKeeperConnection],
        name: str,
        work: Callable[[Turn], Awaitable[T]],
        *,
        changes: bool,
        compared: bool = True,
    ) -> T:
        """Do something on a link's connection, within the deadline.

        Args:
            link: The link.
            name: The call, for messages.
            work: What is done.
            changes: Whether something is changed by it.
            compared: Whether it is refused where something else than was seen has been found already.
        """
        seen = self._sight.demand() if compared else self._sight.seen

        async def on(connection: ZooKeeperConnection) -> T:
            return await work(Turn(connection, self._layout, self._sight, self._url, seen))

        until = self._clock.now() + nanoseconds(self._timeout())
        try:
            return await link.call(name, on, timeout=self._timeout(), changes=changes)
        except StoreUnavailableError:
            left = seconds(until - self._clock.now())
            if changes or left <= 0:
                raise
            return await link.call(name, on, timeout=left, changes=False)  # a connection that was lost meanwhile
