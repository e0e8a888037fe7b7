"""A published plan of shards, and what one instance is to do about it: values and decisions, without I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from locum.coordination.grant import Grant
    from locum.coordination.nodes import Node
    from locum.store import Record

__all__ = ["Look", "Participant", "Plan", "Wish", "Wishing", "plan_key"]


def plan_key(name: str, *, kind: str = "shard") -> str:
    """The key of the plan of a service that is divided.

    Args:
        name: The service's name.
        kind: Into what.
    """
    return f"{kind}-plan/{name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which instance each shard is to have: wishes, for what a shard has decides its grant alone.

    Attributes:
        epoch: Grows with every plan.
        owners: For each shard the instance's name; `None` for nobody.
        capacities: The instances that it was made for, and what each takes in proportion to the others.
        computer: The instance that made it, for people.
        revision: Of its record, to compare with; 0 if there is none.
    """

    epoch: int = 0
    owners: tuple[str | None, ...] = ()
    capacities: Mapping[str, float] = field(default_factory=dict, hash=False)
    computer: str = ""
    revision: int = field(default=0, compare=False)

    @classmethod
    def of(cls, record: Record | None, *, shards: int | None = None) -> Plan:
        """The plan that a record holds; one that is none, or for another number of shards, plans nothing.

        Args:
            record: The record.
            shards: How many there are; `None` where any number will do.
        """
        if record is None:
            return cls()
        nothing = cls(revision=record.revision)
        try:
            said: dict[str, Any] = json.loads(record.value)
            names = [str(name) for name in said["instances"]]
            owners = tuple(None if place is None else names[place] for place in said["owners"])
            capacities = {str(name): float(each) for name, each in said["capacities"].items()}
            plan = cls(int(said["epoch"]), owners, capacities, str(said["computer"]), record.revision)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return nothing
        return plan if shards in (None, len(owners)) else nothing

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        names = sorted({owner for owner in self.owners if owner is not None})
        place = {name: number for number, name in enumerate(names)}
        owners = [None if owner is None else place[owner] for owner in self.owners]
        said = {"epoch": self.epoch, "computer": self.computer, "instances": names, "owners": owners}
        return json.dumps({**said, "capacities": dict(self.capacities)}, separators=(",", ":")).encode()

    def owner(self, index: int) -> str | None:
        """Whom it gives a shard; `None` for nobody."""
        return self.owners[index] if index < len(self.owners) else None


@dataclass(frozen=True, slots=True)
class Participant:
    """One instance that takes part.

    Attributes:
        instance: Its name.
        capacity: What it takes, in proportion to the others.
        leaving: Whether it is about to go: it gives up what it has, and is to get nothing.
        session: Its session.
    """

    instance: str
    capacity: float = 1.0
    leaving: bool = False
    session: str = ""

    @classmethod
    def of(cls, node: Node) -> Participant:
        """The one that a node is.

        Raises:
            CorruptRecordError: It is something else.
        """
        try:
            said: dict[str, Any] = json.loads(node.value)
            capacity = float(said["capacity"])
            if not 0 < capacity < float("inf"):
                raise ValueError(f"its capacity is {capacity}")
            return cls(str(said["instance"]), capacity, said["leaving"] is True, node.session or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(node.path, f"it takes part in nothing ({error!r})") from error

    def to_bytes(self) -> bytes:
        """What it says, as its node keeps it."""
        return json.dumps({"instance": self.instance, "capacity": self.capacity, "leaving": self.leaving}).encode()


@dataclass(frozen=True, slots=True)
class Look:
    """What the store said at one moment.

    Attributes:
        plan: The plan.
        grants: The grants of the shards that have one, by index.
        here: The instances that take part, those that leave too, by name.
    """

    plan: Plan
    grants: Mapping[int, Grant]
    here: Mapping[str, Participant]

    @property
    def staying(self) -> dict[str, float]:
        """The instances that stay, with their capacities."""
        return {name: one.capacity for name, one in self.here.items() if not one.leaving}

    def has(self, index: int) -> str | None:
        """The name of the instance that has a shard and is there; `None` if none has."""
        grant = self.grants.get(index)
        if grant is None or grant.holder is None:
            return None
        one = self.here.get(grant.holder.instance)
        # by its session: who came back under its name has nothing of what it had
        return one.instance if one is not None and one.session == grant.holder.session else None

    @property
    def forgotten(self) -> dict[str, float]:
        """The instances that stay and have shards, and that the plan does not count, with their capacities.

        It was made before they came, or by nobody who computes.
        """
        owners = {self.has(index) for index in self.grants}
        known = self.plan.capacities
        return {name: capacity for name, capacity in self.staying.items() if name in owners and name not in known}

    def before(self, there: Collection[str], of: int) -> list[str | None]:
        """From whom each shard would move, for whoever computes the next plan; `None` for nobody.

        That is whom the plan gives it to. Who has what is planned for nobody who counts keeps it, for it was an orphan;
        and so does whom the plan has forgotten.

        Args:
            there: Who counts.
            of: How many shards there are.
        """
        forgotten = self.forgotten
        found: list[str | None] = []
        for index in range(of):
            planned, has = self.plan.owner(index), self.has(index)
            found.append(has if has in forgotten or planned not in there else planned)
        return found


@dataclass(frozen=True, slots=True)
class Wish:
    """What one instance is to do.

    Attributes:
        take: The shards that it is to have, the ones that nobody has first.
        shed: Those that it has and is to give up, and for whom.
        again: Nanoseconds after which to look again even if nothing changes; `None` if only a change can bring more.
    """

    take: tuple[int, ...]
    shed: Mapping[int, str]
    again: int | None


class Wishing:
    """Decides what one instance is to do; it remembers since when it sees a shard without an owner.

    Args:
        instance: Its name.
        of: How many shards there are.
        patience: Nanoseconds for which a shard must have been seen without a holder, and planned for nobody who is
            there, before another one takes it.
    """

    def __init__(self, instance: str, of: int, *, patience: int) -> None:
        self._instance, self._of, self._patience = instance, of, patience
        self._free: dict[int, tuple[int, int]] = {}  # by index: the grant's revision, and since when it is free
        self._paused: dict[int, tuple[int, int]] = {}

    def wish(
        self, look: Look, held: Collection[int], now: int, *, pauses: Mapping[int, int], dead: Collection[int]
    ) -> Wish:
        """What to do at this moment.

        Args:
            look: What the store said.
            held: The shards that this instance has.
            now: The clock's reading.
            pauses: Nanoseconds that a shard that failed must rest, by index.
            dead: The shards that nobody is to have.
        """
        take: list[tuple[bool, int]] = []
        shed: dict[int, str] = {}
        waits: list[int] = []
        staying, is_counted = look.staying, self._instance in look.plan.capacities
        for index in range(self._of):
            owner = look.plan.owner(index)
            if index in held:
                # what a plan gives to one that is not there is kept: imbalance is better than nobody; and a plan that
                # does not count us is no plan of ours: the next one does
                if is_counted and owner is not None and owner != self._instance and owner in staying:
                    shed[index] = owner
                continue
            is_free = look.has(index) is None
            wait = self._rest(index, look, now, pauses.get(index, 0))
            if owner != self._instance:
                wait = None if wait is None or owner in staying else max(wait, self._orphan(index, look, is_free, now))
            if index in dead or wait is None:
                continue
            if wait > 0:
                waits.append(wait)
            else:
                take.append((not is_free, index))
        return Wish(tuple(index for _, index in sorted(take)), shed, min(waits, default=None))

    def _rest(self, index: int, look: Look, now: int, pause: int) -> int | None:
        """Nanoseconds that a shard must rest yet."""
        grant = look.grants.get(index)
        revision = 0 if grant is None else grant.revision
        if self._paused.get(index, (-1, 0))[0] != revision:
            self._paused[index] = (revision, now)
        return max(0, self._paused[index][1] + pause - now)

    def _orphan(self, index: int, look: Look, is_free: bool, now: int) -> int:
        """Nanoseconds until this instance may take what nobody plans for anybody: one after the other may."""
        grant = look.grants.get(index)
        revision = 0 if grant is None else grant.revision
        if not is_free:
            self._free.pop(index, None)
            return self._patience  # its holder may go without a change that wakes us
        if self._free.get(index, (-1, 0))[0] != revision:
            self._free[index] = (revision, now)
        turns = sorted(look.staying)
        if self._instance not in turns:
            return self._patience
        turn = (turns.index(self._instance) - index) % len(turns)
        return max(0, self._free[index][1] + self._patience + turn * self._patience // 2 - now)
