"""Which instance each shard belongs to: decided without I/O, from who has it now and who is there.

Nobody's shard moves without need (what each has, it keeps up to its quota), and every share is the ideal one, rounded
down or up. The same input gives the same plan everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "MOST_SHARDS",
    "Attendance",
    "assign",
    "check_shards",
    "key_hash",
    "least_moves",
    "moves",
    "quotas",
    "shard_of",
]

MOST_SHARDS: Final = 4096
"""How many shards a service may have: so many fit into one plan."""


def shard_of(key: str | bytes, of: int) -> int:
    """The shard to which a key belongs; the same on every machine, in every process and release.

    Args:
        key: Of what is to be done, such as an order's customer; a text counts as its UTF-8.
        of: How many shards there are.
    """
    return key_hash(key) % of


def key_hash(key: str | bytes) -> int:
    """A number of 64 bits for a key: the same on every machine, in every process and release."""
    given = key.encode() if isinstance(key, str) else key
    return int.from_bytes(blake2b(given, digest_size=8).digest(), "big")


def check_shards(of: int) -> int:
    """Return the number, or raise `ConfigurationError` if there cannot be so many shards."""
    if not 1 <= of <= MOST_SHARDS:
        raise ConfigurationError(f"shards={of!r} cannot be: there are 1 to {MOST_SHARDS}")
    return of


def quotas(of: int, capacities: Mapping[str, float], held: Mapping[str, int]) -> dict[str, int]:
    """How many shards each instance is to have: its ideal share; a broken one rounded up for those that hold more.

    Args:
        of: How many shards there are.
        capacities: What each instance takes, in proportion to the others; more than 0.
        held: How many each has now.
    """
    whole = math.fsum(capacities.values())
    ideal = {name: of * capacity / whole for name, capacity in capacities.items()}
    found = {name: math.floor(share + 1e-9) for name, share in ideal.items()}
    broken = [name for name, share in ideal.items() if share - found[name] > 1e-9]
    # rounding up costs nobody a move where more is held already
    broken.sort(key=lambda name: (held.get(name, 0) <= found[name], found[name] - ideal[name], name))
    for name in broken[: of - sum(found.values())]:
        found[name] += 1
    return found


def assign(owners: Sequence[str | None], capacities: Mapping[str, float]) -> list[str | None]:
    """A plan: for each shard the instance to which it belongs.

    Args:
        owners: Who has each shard now, or is to; `None` for nobody. Who is not among the instances counts as nobody.
        capacities: The instances that are there, and what each takes in proportion to the others.

    Returns:
        The owner of each shard, within one of every ideal share and with the fewest moves; `None` for all where nobody
        is there.
    """
    if not capacities:
        return [None] * len(owners)
    held = dict.fromkeys(capacities, 0)
    for owner in owners:
        if owner in held:
            held[owner] += 1
    room = quotas(len(owners), capacities, held)
    plan: list[str | None] = []
    for owner in owners:
        if owner is not None and room.get(owner, 0) > 0:
            room[owner] -= 1
            plan.append(owner)
        else:
            plan.append(None)
    # in turn, each as long as it has room: neighbours go to different instances
    turns = sorted(capacities)
    for index, owner in enumerate(plan):
        if owner is None:
            while not room[turns[0]]:
                turns.pop(0)
            name = turns.pop(0)
            plan[index] = name
            room[name] -= 1
            turns.append(name)
    return plan


def moves(before: Sequence[str | None], after: Sequence[str | None]) -> int:
    """How many shards another instance has than before."""
    return sum(old != new for old, new in zip(before, after, strict=True))


def least_moves(owners: Sequence[str | None], capacities: Mapping[str, float]) -> int:
    """The fewest moves that give every instance its ideal share, rounded down or up."""
    whole = math.fsum(capacities.values())
    kept = 0
    over = 0
    for name, capacity in capacities.items():
        ideal = len(owners) * capacity / whole
        held = sum(owner == name for owner in owners)
        least = math.floor(ideal + 1e-9)
        kept += min(held, least)
        over += held > least and ideal - least > 1e-9
    floors = sum(math.floor(len(owners) * capacity / whole + 1e-9) for capacity in capacities.values())
    return len(owners) - kept - min(over, len(owners) - floors)


@dataclass(slots=True)
class Attendance:
    """Who counts as being there, for whoever computes: who joined is waited out, and who may come back is waited for.

    Without I/O: it is told who is seen, and when.

    Attributes:
        join_delay: Nanoseconds for which one that joined must have been seen, so that many that come together are one
            change.
        return_delay: Nanoseconds for which an instance that went is kept its place, since its name may come back.
    """

    join_delay: int
    return_delay: int
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _missed: dict[str, tuple[int, float]] = field(default_factory=dict)

    def counted(
        self, here: Mapping[str, float], planned: Mapping[str, float], now: int
    ) -> tuple[dict[str, float], int | None]:
        """Who counts at this moment.

        Args:
            here: The instances that are seen, with their capacities.
            planned: Those that the plan of now names, with the capacities that they had.
            now: The clock's reading.

        Returns:
            The instances that count, with their capacities; and nanoseconds until that may change by itself, if it may.
        """
        self._seen = {name: self._seen.get(name, (now, capacity)) for name, capacity in here.items()}
        gone = {name: capacity for name, capacity in planned.items() if name not in here}
        self._missed = {name: self._missed.get(name, (now, capacity)) for name, capacity in gone.items()}
        waits: list[int] = []
        counted: dict[str, float] = {}
        for name, capacity in here.items():
            left = self._seen[name][0] + self.join_delay - now
            if name in planned or left <= 0:
                counted[name] = capacity
            else:
                waits.append(left)
        for name, (since, capacity) in self._missed.items():
            if (left := since + self.return_delay - now) > 0:
                counted[name] = capacity
                waits.append(left)
        if not counted:  # whoever comes first waits for nobody
            counted, waits = dict(here), []
        return counted, min(waits, default=None)
