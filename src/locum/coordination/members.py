"""Members: who is here, with a version, a load and whatever else they tell of themselves.

Promises: who joined is seen until it leaves or its session ends, and no longer; a watch shows the members at once and
whatever the last state is; joins and leaves are told as what differs between two states that were read, and one that
was lost and came back, as a leave and a join, in this order.
Assumes: members are shown for orientation; whoever must work alone holds a lock or a lead.
On loss: with the session its membership is gone; it joins again by itself, as another one, under the next session.
"""

from __future__ import annotations

import json
import math
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.known import Known
from locum.coordination.nodes import Node, Nodes, prefix_of
from locum.coordination.presence import Presence
from locum.coordination.watching import states
from locum.errors import ConfigurationError, CorruptRecordError
from locum.names import join

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping

    from locum.coordination.commons import Commons
    from locum.store import Record

__all__ = ["FOLDER", "Difference", "Member", "Members", "Membership", "difference"]

FOLDER: Final = "members"
"""The folder of the nodes that members are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One that is here, as it stood at one moment.

    Attributes:
        id: Of this very membership: who comes back has another one.
        instance: Its instance's name.
        machine: Its machine's name.
        session: The session that it lives with.
        version: Of the software, as it says; empty if it does not.
        load: As it says; `None` if it does not.
        metadata: What else it says of itself.
        number: Its place in the order of joining.
        revision: Changes with whatever it says.
    """

    id: str
    instance: str
    machine: str
    session: str
    version: str = ""
    load: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    number: int = 0
    revision: int = 0

    @classmethod
    def of(cls, node: Node) -> Member:
        """The member that a node is.

        Raises:
            CorruptRecordError: It is something else.
        """
        try:
            said: dict[str, Any] = json.loads(node.value)
            if node.session is None:
                raise ValueError("it is bound to no session")
            return cls(
                id=node.path.rpartition("/")[2],
                instance=str(said["instance"]),
                machine=str(said["machine"]),
                session=node.session,
                version=str(said["version"]),
                load=None if said["load"] is None else float(said["load"]),
                metadata={str(name): str(value) for name, value in said["metadata"].items()},
                number=node.number,
                revision=node.version,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(node.path, f"it is no member ({error!r})") from error

    def to_bytes(self) -> bytes:
        """What it says, as its node keeps it."""
        said = {"instance": self.instance, "machine": self.machine, "version": self.version, "load": self.load}
        return json.dumps({**said, "metadata": dict(self.metadata)}).encode()


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two states; whoever left is told before whoever joined.

    Attributes:
        left: Those that are not here any more, as they were seen last.
        joined: Those that are new, in the order of joining.
        changed: Those that say something else than before, as they are now.
    """

    left: tuple[Member, ...] = ()
    joined: tuple[Member, ...] = ()
    changed: tuple[Member, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.left or self.joined or self.changed)


def difference(before: Iterable[Member], now: Iterable[Member]) -> Difference:
    """What differs between two states."""
    were, are = ({one.id: one for one in state} for state in (before, now))
    return Difference(
        left=tuple(one for one in were.values() if one.id not in are),
        joined=tuple(one for one in are.values() if one.id not in were),
        changed=tuple(
            one for one in are.values() if (was := were.get(one.id)) is not None and one is not was and one != was
        ),
    )


class Membership:
    """One's own membership, while its block runs.

    Args:
        presence: Stands for it.
        member: What is said at first.
    """

    def __init__(self, presence: Presence, member: Member) -> None:
        self._presence, self._member = presence, member

    async def update(
        self, *, load: float | None = None, version: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Say something else; what is not given stays as it is. Returns when others can see it.

        Each one wakes all who watch: a load is best told when it has changed by enough.
        """
        given: dict[str, Any] = {"load": load, "version": version, "metadata": metadata}
        member = replace(self._member, **{name: value for name, value in given.items() if value is not None})
        await self._presence.say(_checked(member).to_bytes())
        self._member = member


class Members:
    """The members of one group.

    Args:
        commons: Whose session a membership lives with.
        group: The name of the group.
    """

    def __init__(self, commons: Commons, group: str) -> None:
        self.group = group
        self._commons, self._folder = commons, join(FOLDER, group)
        self._nodes = Nodes(commons.store, accept=commons.session)

    @asynccontextmanager
    async def join(
        self, *, version: str = "", load: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> AsyncIterator[Membership]:
        """Be a member for the length of the block; under each session of this instance, if one is lost.

        Args:
            version: Of the software.
            load: A number that others can compare.
            metadata: What else others should know; with the rest at most 32 KiB.
        """
        owner = self._commons.leases.owner
        member = _checked(
            Member(
                id="",
                instance=owner.name,
                machine=owner.machine,
                session="",
                version=version,
                load=load,
                metadata=metadata or {},
            )
        )
        presence = Presence(self._commons, self._folder, member.to_bytes())
        async with presence.kept():
            yield Membership(presence, member)

    async def list(self) -> tuple[Member, ...]:
        """Who is here, in the order of joining."""
        return await self._nodes.list_as(self._folder, Known(_member))

    def watch(self) -> AsyncGenerator[tuple[Member, ...], None]:
        """Who is here: at once, and again after each change; the last state always comes.

        States between two looks are passed over. While the store does not answer nothing comes; then what is there.
        """
        self._commons.origin.check()
        known = Known(_member)
        nodes, folder = self._nodes, self._folder
        return states(self._commons.store, prefix_of(folder), lambda told: nodes.list_as(folder, known, told))

    async def changes(self) -> AsyncGenerator[Difference, None]:
        """Who left, joined, or says something else: first who is here already, then what differs at each look.

        What came and went between two looks is not told; what was told adds up to what is there.
        """
        before: tuple[Member, ...] = ()
        async with aclosing(self.watch()) as watching:
            async for now in watching:
                if found := difference(before, now):
                    yield found
                before = now


def _member(record: Record) -> Member:
    return Member.of(Node.of(record))


def _checked(member: Member) -> Member:
    if member.load is not None and not math.isfinite(member.load):
        raise ConfigurationError(f"{member.load} cannot be a load: give a number that others can compare")
    for name, value in member.metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"the metadata {name!r} is no text, or its value is none: give both as text")
    return member
