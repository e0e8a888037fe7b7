"""What watches have shown, and those who change what is watched: for rows on a store in memory and on real servers."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, TypeVar

from locum.coordination.members import Difference, Member, Members, Membership

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from locum.coordination.nodes import Node, Nodes
    from locum.scopes import Scope

__all__ = ["Joining", "MembersShown", "NodesShown", "all_back", "change"]

S = TypeVar("S")

_LONG: Final = 30.0


class NodesShown:
    """What two watches of nodes have shown: of `x/0`, and of the folder `x`."""

    def __init__(self, nodes: Nodes, scope: Scope) -> None:
        self.one: list[Node | None] = []
        self.folder: list[tuple[Node, ...]] = []
        self._news = asyncio.Event()
        scope.spawn(self._see(nodes.watch("x/0"), self.one), name="one")
        scope.spawn(self._see(nodes.watch_list("x"), self.folder), name="folder")

    async def _see(self, states: AsyncIterator[S], shown: list[S]) -> None:
        async for state in states:
            shown.append(state)
            self._news.set()

    async def until(self, one: Node | None, folder: tuple[Node, ...]) -> None:
        """Wait until the last that was shown is this."""
        try:
            async with asyncio.timeout(_LONG):
                while self.one[-1:] != [one] or self.folder[-1:] != [folder]:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"the last state never came: {one} {folder}") from None

    def judge(self, lasting: list[Node]) -> None:
        """In order, none twice, and everything that lasted for a while."""
        versions = [node.version for node in self.one if node is not None]
        assert versions == sorted(set(versions)), "versions in order, and none twice"
        assert {node.version for node in lasting} <= set(versions), "no lasting change was missed"
        assert all(before != after for before, after in itertools.pairwise(self.folder))


async def change(nodes: Nodes, path: str, chance: random.Random) -> None:
    """Write, delete, or make one: a lasting one or one that is bound to the session."""
    if await nodes.get(path) is None:
        await nodes.create(path, b"made", session_bound=chance.random() < 0.5)
    elif chance.random() < 0.3:
        await nodes.delete(path)
    else:
        await nodes.set(path, chance.randbytes(8))


class MembersShown:
    """What is shown of a group: its states, and what the differences that were told add up to."""

    def __init__(self, members: Members, scope: Scope) -> None:
        self.states: list[tuple[Member, ...]] = []
        self.told: list[Difference] = []
        self.here: dict[str, Member] = {}
        self._news = asyncio.Event()
        scope.spawn(self._see(members), name="states")
        scope.spawn(self._hear(members), name="differences")

    async def _see(self, members: Members) -> None:
        async for state in members.watch():
            self.states.append(state)
            self._news.set()

    async def _hear(self, members: Members) -> None:
        async for found in members.changes():
            self.told.append(found)
            for one in found.left:
                assert self.here.pop(one.id) == one, "as it was seen last"
            for one in found.joined:
                assert one.id not in self.here
                self.here[one.id] = one
            for one in found.changed:
                assert self.here[one.id].revision < one.revision
                self.here[one.id] = one
            self._news.set()

    async def until(self, wanted: tuple[Member, ...]) -> None:
        """Wait until the last that was shown, and what was told, is this."""
        try:
            async with asyncio.timeout(_LONG):
                while self.states[-1:] != [wanted] or set(self.here.values()) != set(wanted):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"the last state never came: {wanted}") from None

    def judge(self) -> None:
        """No state twice, and no difference that says nothing."""
        assert all(before != after for before, after in itertools.pairwise(self.states))
        assert all(self.told), "a difference says what differs"


class Joining:
    """One instance that joins, says something else, leaves, and loses its session.

    Args:
        members: The group, as it has it.
        chance: Decides.
        lose: Has it lose its session, and begin another; if nothing is given, it keeps it.
    """

    def __init__(
        self, members: Members, chance: random.Random, *, lose: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._members, self._chance, self._lose = members, chance, lose
        self._stack = AsyncExitStack()
        self.me: Membership | None = None

    async def change(self) -> None:
        """Do one of these."""
        if self.me is None:
            self.me = await self._stack.enter_async_context(self._members.join())
        elif self._chance.random() < 0.2:
            await self.leave()
        elif self._lose is not None and self._chance.random() < 0.2:
            await self._lose()
        else:
            await self.me.update(load=self._chance.random())

    async def leave(self) -> None:
        """Be no member any more."""
        await self._stack.aclose()
        self.me = None


async def all_back(members: Members, crew: list[Joining]) -> tuple[Member, ...]:
    """The members, once all who lost their sessions are back."""
    wanted = sum(one.me is not None for one in crew)
    try:
        async with asyncio.timeout(_LONG):
            while len(found := await members.list()) != wanted:  # noqa: ASYNC110 - each by itself
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"of {wanted} members not all have come back") from None
    return found
